//! A bed with Tandem installed on it.

use std::path::PathBuf;

use anyhow::{Context, Result};
use kube::{
    Client, Config,
    config::{AuthInfo, KubeConfigOptions, Kubeconfig},
};
use testbed::{Bed, Options};

/// Where the operator is installed.
pub const SYSTEM: &str = "tandem-system";
/// The Helm release.
pub const RELEASE: &str = "tandem";

/// A bed with access to it.
pub struct Lab {
    /// The bed.
    pub bed: Bed,
    /// The administrator's client.
    pub client: Client,
    /// Options of the brokers' JVMs, where a test does not name others.
    pub java: Vec<String>,
}

impl Lab {
    /// Brings a bed up and moves this process into its network; to be called in `main`, before any
    /// thread is started. The runtime must be entered for the client.
    ///
    /// # Errors
    /// When the bed does not come up.
    pub fn enter(name: &str) -> Result<Bed> {
        let tandem = binary();
        anyhow::ensure!(
            tandem.is_file(),
            "{} does not exist: build it with `cargo build --release`, or name another in TANDEM_BINARY",
            tandem.display()
        );
        let options = Options { name: name.to_owned(), tandem: Some(tandem), ..Options::default() };
        let bed = Bed::up(&options)?;
        bed.enter_network()?;
        Ok(bed)
    }

    /// Access to a bed, from inside a runtime.
    ///
    /// # Errors
    /// When the API server's address cannot be read.
    pub async fn open(bed: Bed) -> Result<Self> {
        let kubeconfig = Kubeconfig::read_from(bed.kubeconfig())?;
        let mut config =
            Config::from_custom_kubeconfig(kubeconfig, &KubeConfigOptions::default()).await?;
        config.default_retry = false;
        config.proxy_url = None;
        Ok(Self { bed, client: Client::try_from(config)?, java: Vec::new() })
    }

    /// For brokers that live for a minute, several at a time: their JVMs leave the second compiler out. A start
    /// takes 2.4 s of a processor then, instead of 4.4 s. Not for measurements: it is not what users have.
    pub fn with_short_lived_brokers(mut self) -> Self {
        self.java = vec!["-XX:TieredStopAtLevel=1".to_owned()];
        self
    }

    /// A client of somebody else, by a token.
    ///
    /// # Errors
    /// When the API server's address cannot be read.
    pub async fn client_with(&self, token: &str) -> Result<Client> {
        let mut kubeconfig = Kubeconfig::read_from(self.bed.kubeconfig())?;
        for user in kubeconfig.auth_infos.iter_mut().filter_map(|user| user.auth_info.as_mut()) {
            *user = AuthInfo { token: Some(token.to_owned().into()), ..AuthInfo::default() };
        }
        let mut config =
            Config::from_custom_kubeconfig(kubeconfig, &KubeConfigOptions::default()).await?;
        config.proxy_url = None;
        Ok(Client::try_from(config)?)
    }

    /// Installs the chart, or upgrades it; further arguments go to Helm.
    ///
    /// # Errors
    /// When Helm fails or the operator does not become available.
    pub fn install(&self, arguments: &[&str]) -> Result<()> {
        let chart = project().join("charts/tandem");
        let chart = chart.to_str().context("the project's path is no text")?;
        // The image keeps its name: on a bed that is still up, the old operator would stay otherwise.
        let built = binary().metadata()?.modified()?.duration_since(std::time::UNIX_EPOCH)?;
        let built = format!("podAnnotations.built={}", built.as_millis());
        let mut all = vec![
            "upgrade",
            "--install",
            RELEASE,
            chart,
            "--namespace",
            SYSTEM,
            "--create-namespace",
            "--wait",
            "--timeout",
            "2m",
            "--set",
            "image.repository=localhost/tandem",
            "--set",
            "image.tag=dev",
            "--set",
            "image.pullPolicy=Never",
            "--set-string",
            &built,
        ];
        all.extend(arguments);
        self.bed.helm(&all).map(drop)
    }
}

/// The checkout.
pub fn project() -> PathBuf {
    PathBuf::from(env!("CARGO_MANIFEST_DIR")).join("../..")
}

/// The operator's binary for its image.
fn binary() -> PathBuf {
    std::env::var_os("TANDEM_BINARY").map_or_else(
        || {
            let target = std::env::var_os("CARGO_TARGET_DIR")
                .map_or_else(|| project().join("target"), PathBuf::from);
            target.join("x86_64-unknown-linux-gnu/release/tandem")
        },
        PathBuf::from,
    )
}
