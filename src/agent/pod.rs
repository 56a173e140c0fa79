//! What the pod tells its agent: the one place that reads the environment.

use std::env;
use std::net::IpAddr;

use anyhow::{Context as _, ensure};

/// The pod that this agent runs in, from the downward API.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Pod {
    /// `POD_NAME`.
    pub name: String,
    /// `POD_NAMESPACE`.
    pub namespace: String,
    /// `POD_UID`.
    pub uid: String,
    /// `POD_IPS`, separated by commas: one, or one of each family.
    pub ips: Vec<IpAddr>,
    /// `NODE_NAME`.
    pub node: String,
}

impl Pod {
    /// Reads the environment.
    pub fn from_env() -> anyhow::Result<Self> {
        let ips = variable("POD_IPS")?
            .split(',')
            .map(|ip| ip.trim().parse())
            .collect::<Result<Vec<IpAddr>, _>>()
            .context("POD_IPS must be IP addresses separated by commas")?;
        Ok(Self {
            name: variable("POD_NAME")?,
            namespace: variable("POD_NAMESPACE")?,
            uid: variable("POD_UID")?,
            ips,
            node: variable("NODE_NAME")?,
        })
    }
}

fn variable(name: &str) -> anyhow::Result<String> {
    let value = env::var(name).with_context(|| format!("environment variable {name}"))?;
    ensure!(!value.is_empty(), "environment variable {name} is empty");
    Ok(value)
}
