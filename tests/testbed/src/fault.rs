//! Faults of the network, made with packet filter rules in a node's or a server's own namespace.

use anyhow::Result;

use crate::layout::{APISERVER, DATABASES, NodeLayout, STORAGES, ServerLayout};
use crate::{network, shell};

/// What can be cut off by rules alone.
const RULED: [From; 3] = [From::Api, From::Storage, From::Database];

/// The rules of a server that is cut off.
const SERVER_TABLE: &str = "tandem-cut";

/// What a node is cut off from.
#[derive(Clone, Copy, Debug, PartialEq, Eq, clap::ValueEnum)]
pub enum From {
    /// The API server, in both directions; other nodes, DNS and storage stay reachable.
    Api,
    /// All storage servers' addresses.
    Storage,
    /// All database servers' addresses.
    Database,
    /// Everything: the node's cable is unplugged.
    All,
}

impl From {
    fn table(self) -> Option<&'static str> {
        match self {
            From::Api => Some("tandem-cut-api"),
            From::Storage => Some("tandem-cut-storage"),
            From::Database => Some("tandem-cut-database"),
            From::All => None,
        }
    }

    /// The API server is cut off by port, because programs in the control plane's namespace share
    /// its address: a test's client there must still reach the node's pods.
    fn drops(self) -> Vec<String> {
        match self {
            From::Api => vec![
                format!("ip daddr {APISERVER} tcp dport 6443"),
                format!("ip saddr {APISERVER} tcp sport 6443"),
                format!("ip saddr {APISERVER} tcp dport 10250"),
                format!("ip daddr {APISERVER} tcp sport 10250"),
            ],
            From::Storage => both(&STORAGES.join("-")),
            From::Database => both(&DATABASES.join("-")),
            From::All => Vec::new(),
        }
    }
}

/// Cuts the node off; it may be already.
pub fn cut(node: &NodeLayout, from: From) -> Result<()> {
    match from.table() {
        Some(table) => filter(&node.network(), &ruleset(table, &from.drops())),
        None => network::unplug(node),
    }
}

/// Undoes every cut.
pub fn heal(node: &NodeLayout, nodes: u8) -> Result<()> {
    for table in RULED.into_iter().filter_map(From::table) {
        drop_table(&node.network(), table)?;
    }
    network::plug(node, nodes)
}

/// What the node is cut off from now.
pub fn active(node: &NodeLayout) -> Result<Vec<From>> {
    let tables = tables(&node.network())?;
    let mut cuts: Vec<From> = RULED
        .into_iter()
        .filter(|from| from.table().is_some_and(|table| tables.contains(table)))
        .collect();
    if !network::is_plugged(node)? {
        cuts.push(From::All);
    }
    Ok(cuts)
}

/// Cuts a server off from these nodes and their pods, and from nobody else.
pub fn cut_server(server: &ServerLayout, nodes: &[NodeLayout]) -> Result<()> {
    let addresses = nodes.iter().flat_map(|node| [node.address(), node.pods()]);
    let drops: Vec<String> = addresses.flat_map(|address| both(&address)).collect();
    filter(&server.network(), &ruleset(SERVER_TABLE, &drops))
}

/// Undoes [`cut_server`].
pub fn heal_server(server: &ServerLayout) -> Result<()> {
    drop_table(&server.network(), SERVER_TABLE)
}

/// Whether the server is cut off from a node.
pub fn is_server_cut(server: &ServerLayout) -> Result<bool> {
    Ok(tables(&server.network())?.contains(SERVER_TABLE))
}

/// What comes from an address, or from one of a range, and what goes there.
fn both(address: &str) -> Vec<String> {
    vec![format!("ip daddr {address}"), format!("ip saddr {address}")]
}

fn tables(namespace: &str) -> Result<String> {
    shell::output(network::command(namespace, "nft").args(["list", "tables"]))
}

/// Deleting what may not exist is an error; what was just added can be deleted.
fn drop_table(namespace: &str, table: &str) -> Result<()> {
    filter(namespace, &format!("add table inet {table}; delete table inet {table}"))
}

/// The node's own packets pass `input` and `output`, its pods' pass `forward`; by then a service's
/// address has been replaced by the server's, so the server's address is what the rules see.
fn ruleset(table: &str, drops: &[String]) -> String {
    let mut rules =
        format!("add table inet {table}; delete table inet {table}; add table inet {table}");
    for hook in ["input", "output", "forward"] {
        rules.push_str(&format!(
            "; add chain inet {table} {hook} {{ type filter hook {hook} priority 0; }}"
        ));
        for drop in drops {
            rules.push_str(&format!("; add rule inet {table} {hook} {drop} drop"));
        }
    }
    rules
}

fn filter(namespace: &str, rules: &str) -> Result<()> {
    shell::run(network::command(namespace, "nft").arg(rules))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_cut_covers_pods_as_well() {
        let rules = ruleset("t", &From::Storage.drops());
        assert!(rules.contains("hook forward"), "{rules}");
        assert!(rules.contains("forward ip daddr 172.30.0.201-172.30.0.249 drop"), "{rules}");
    }
}
