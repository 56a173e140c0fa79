//! Host names to addresses. The programs are static, and a static glibc has no name service.

use std::net::IpAddr;
use std::time::Duration;

use hickory_resolver::TokioResolver;
use hickory_resolver::config::LookupIpStrategy;

/// For one question to one name server. Kubernetes' search list makes up to five questions of a
/// foreign name.
const QUESTION: Duration = Duration::from_millis(500);

/// All addresses of a host; of an address itself.
///
/// The system's configuration is read each time: a look-up is made for a new connection only.
///
/// # Errors
/// Why there are none, in words.
pub async fn addresses(host: &str) -> Result<Vec<IpAddr>, String> {
    let bare = host.trim_start_matches('[').trim_end_matches(']');
    if let Ok(address) = bare.parse() {
        return Ok(vec![address]);
    }
    let failed =
        |error: &dyn std::fmt::Display| format!("host name {host} is not resolved: {error}");
    let mut builder = TokioResolver::builder_tokio().map_err(|error| failed(&error))?;
    let options = builder.options_mut();
    options.timeout = QUESTION;
    options.attempts = 2;
    options.cache_size = 0;
    options.ip_strategy = LookupIpStrategy::Ipv4AndIpv6;
    let resolver = builder.build().map_err(|error| failed(&error))?;
    let found = resolver.lookup_ip(host).await.map_err(|error| failed(&error))?;
    let addresses: Vec<IpAddr> = found.iter().collect();
    if addresses.is_empty() {
        return Err(failed(&"it has no address"));
    }
    Ok(addresses)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[tokio::test]
    async fn an_address_is_itself() {
        for text in ["192.0.2.7", "2001:db8::7"] {
            let wanted: IpAddr = text.parse().unwrap();
            assert_eq!(addresses(text).await.unwrap(), [wanted]);
        }
        assert_eq!(addresses("[::1]").await.unwrap(), ["::1".parse::<IpAddr>().unwrap()]);
    }

    #[tokio::test]
    async fn the_hosts_file_counts() {
        assert!(addresses("localhost").await.unwrap().iter().all(IpAddr::is_loopback));
    }
}
