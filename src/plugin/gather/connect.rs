//! From the user's kubeconfig to a client.

use std::net::SocketAddr;
use std::pin::Pin;
use std::task::{Context, Poll};
use std::time::Duration;

use anyhow::{Context as _, anyhow, bail};
use http::Uri;
use hyper_util::client::legacy::connect::proxy::Tunnel;
use hyper_util::client::legacy::connect::{HttpConnector, dns::Name};
use hyper_util::rt::TokioExecutor;
use kube::client::{Body, Client, ConfigExt};
use kube::config::{Config, KubeConfigOptions, Kubeconfig};
use tower::{BoxError, Service, ServiceBuilder, ServiceExt};

use crate::{host_names, plugin::args::Connection};

/// How long the API server may take to accept a connection.
const CONNECT_DEADLINE: Duration = Duration::from_secs(5);

/// A client, and the namespace that commands are about.
#[derive(Clone)]
pub struct Session {
    /// The client. It has no deadlines: [`super::Ask`] sets them.
    pub client: Client,
    /// The namespace that commands are about.
    pub namespace: String,
}

/// Connects as `--kubeconfig`, `--context` and `--namespace` say, like kubectl.
///
/// # Errors
/// What is wrong with the kubeconfig.
pub async fn connect(connection: &Connection) -> anyhow::Result<Session> {
    let config = config(connection).await?;
    let namespace =
        connection.namespace.clone().unwrap_or_else(|| config.default_namespace.clone());
    Ok(Session { client: client(&config)?, namespace })
}

async fn config(connection: &Connection) -> anyhow::Result<Config> {
    let options =
        KubeConfigOptions { context: connection.context.clone(), ..KubeConfigOptions::default() };
    let read = match &connection.kubeconfig {
        Some(path) => Kubeconfig::read_from(path),
        None => Kubeconfig::read(),
    };
    match read {
        Ok(kubeconfig) => Config::from_custom_kubeconfig(kubeconfig, &options).await.context(
            "the kubeconfig cannot be used: see `kubectl config view` and `kubectl config get-contexts`",
        ),
        // In a pod there is none, and the pod's own account will do.
        Err(error) if connection.kubeconfig.is_none() && connection.context.is_none() => {
            Config::incluster().map_err(|_| no_kubeconfig(&error))
        }
        Err(error) => Err(no_kubeconfig(&error)),
    }
}

fn no_kubeconfig(error: &kube::config::KubeconfigError) -> anyhow::Error {
    anyhow!("there is no kubeconfig to read ({error}): set --kubeconfig or $KUBECONFIG")
}

/// As kube makes one, but for the names of hosts: a static program has to look them up by itself.
fn client(config: &Config) -> anyhow::Result<Client> {
    let mut direct = HttpConnector::new_with_resolver(HostNames);
    direct.enforce_http(false);
    direct.set_connect_timeout(Some(CONNECT_DEADLINE));
    match proxy(config)? {
        Some(proxy) => client_by(config, Tunnel::new(proxy, direct)),
        None => client_by(config, direct),
    }
}

fn client_by<C>(config: &Config, connector: C) -> anyhow::Result<Client>
where
    C: Service<Uri> + Clone + Send + Sync + 'static,
    C::Response: hyper_util::client::legacy::connect::Connection
        + hyper::rt::Read
        + hyper::rt::Write
        + Send
        + Unpin
        + 'static,
    C::Future: Send + 'static,
    C::Error: std::error::Error + Send + Sync + 'static,
{
    let https = config
        .rustls_https_connector_with_connector(connector)
        .context("the certificates of the kubeconfig cannot be used")?;
    let http =
        hyper_util::client::legacy::Client::builder(TokioExecutor::new()).build::<_, Body>(https);
    let auth = config.auth_layer().context("the credentials of the kubeconfig cannot be used")?;
    let service = ServiceBuilder::new()
        .layer(config.base_uri_layer())
        .option_layer(auth)
        .layer(config.extra_headers_layer().context("the kubeconfig's headers cannot be used")?)
        .map_err(BoxError::from)
        .service(http);
    Ok(Client::new(service.boxed(), config.default_namespace.clone()))
}

/// The proxy of the kubeconfig or of `$HTTPS_PROXY`, unless `$NO_PROXY` names the server.
fn proxy(config: &Config) -> anyhow::Result<Option<Uri>> {
    let Some(proxy) = config.proxy_url.clone() else { return Ok(None) };
    let exceptions = ["NO_PROXY", "no_proxy"].iter().find_map(|name| std::env::var(name).ok());
    let server = config.cluster_url.host().unwrap_or_default();
    if exceptions.is_some_and(|list| is_exempt(server, &list)) {
        return Ok(None);
    }
    if proxy.scheme_str() != Some("http") || proxy.authority().is_none() {
        bail!("the proxy {proxy} is of a kind that this plugin does not know: it knows http://");
    }
    Ok(Some(proxy))
}

/// Whether a list like `example.com,.internal,10.0.0.1` names this host or a domain of it.
fn is_exempt(host: &str, list: &str) -> bool {
    list.split(',').map(str::trim).filter(|entry| !entry.is_empty()).any(|entry| {
        let domain = entry.trim_start_matches("*.").trim_start_matches('.');
        entry == "*" || host == domain || host.ends_with(&format!(".{domain}"))
    })
}

/// Looks host names up.
#[derive(Clone)]
struct HostNames;

type Addresses = std::vec::IntoIter<SocketAddr>;

impl Service<Name> for HostNames {
    type Response = Addresses;
    type Error = BoxError;
    type Future = Pin<Box<dyn Future<Output = Result<Addresses, BoxError>> + Send>>;

    fn poll_ready(&mut self, _context: &mut Context<'_>) -> Poll<Result<(), BoxError>> {
        Poll::Ready(Ok(()))
    }

    fn call(&mut self, name: Name) -> Self::Future {
        Box::pin(async move {
            let found = host_names::addresses(name.as_str()).await?;
            let addresses: Vec<_> = found.into_iter().map(|ip| SocketAddr::new(ip, 0)).collect();
            Ok(addresses.into_iter())
        })
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_host_is_exempt_from_the_proxy_by_its_name_or_domain() {
        for (host, list, exempt) in [
            ("api.example.com", "example.com", true),
            ("api.example.com", "localhost, .example.com", true),
            ("api.example.com", "*.example.com", true),
            ("10.0.0.1", "10.0.0.1", true),
            ("api.example.com", "*", true),
            ("api.badexample.com", "example.com", false),
            ("api.example.com", "", false),
        ] {
            assert_eq!(is_exempt(host, list), exempt, "{host} {list}");
        }
    }

    #[test]
    fn only_plain_proxies_are_known() {
        let mut config = Config::new("https://api.invalid".parse().unwrap());
        config.proxy_url = Some("http://proxy.invalid:3128".parse().unwrap());
        assert!(proxy(&config).unwrap().is_some());
        config.proxy_url = Some("socks5://proxy.invalid:1080".parse().unwrap());
        assert!(proxy(&config).unwrap_err().to_string().contains("socks5"));
    }
}
