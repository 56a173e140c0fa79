//! What the pod tells its agent: the one place that reads the environment.

use std::env;
use std::net::IpAddr;

use anyhow::{Context as _, ensure};

use crate::core::promotion::Pod;

/// The pod that this agent runs in, from the downward API: `POD_NAME`, `POD_NAMESPACE`, `POD_UID`,
/// `POD_IPS` (separated by commas) and `NODE_NAME`.
pub(super) fn from_env() -> anyhow::Result<Pod> {
    let ips = variable("POD_IPS")?
        .split(',')
        .map(|ip| ip.trim().parse())
        .collect::<Result<Vec<IpAddr>, _>>()
        .context("POD_IPS must be IP addresses separated by commas")?;
    Ok(Pod {
        name: variable("POD_NAME")?,
        namespace: variable("POD_NAMESPACE")?,
        uid: variable("POD_UID")?,
        ips,
        node: variable("NODE_NAME")?,
    })
}

fn variable(name: &str) -> anyhow::Result<String> {
    let value = env::var(name).with_context(|| format!("environment variable {name}"))?;
    ensure!(!value.is_empty(), "environment variable {name} is empty");
    Ok(value)
}
