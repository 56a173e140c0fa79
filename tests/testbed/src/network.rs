//! Network namespaces, the control plane's bridge and the nodes' cables.
//!
//! Everything is created inside the bed's own namespaces; the machine's network is not touched.

use std::fs::{self, File};
use std::path::{Path, PathBuf};
use std::process::Command;
use std::thread;

use anyhow::{Context, Result, anyhow};
use nix::sched::{CloneFlags, setns};

use crate::layout::{APISERVER, DNS, Layout, NodeLayout, SERVICES, ServerLayout};
use crate::shell;

const DIRECTORY: &str = "/run/netns";
const BRIDGE: &str = "br0";
/// Otherwise a bridge takes the lowest address of its cables: a database server that came or went could
/// change it, and nodes that knew the old one lost DNS and API server for up to a minute.
const BRIDGE_ADDRESS: &str = "02:00:ac:1e:00:01";

/// Where a named network namespace can be entered.
pub fn path(namespace: &str) -> PathBuf {
    Path::new(DIRECTORY).join(namespace)
}

/// Moves the calling thread, and the threads it starts from then on, into the namespace.
pub fn enter(namespace: &str) -> Result<()> {
    let path = path(namespace);
    let file = File::open(&path)
        .with_context(|| format!("opening {} (is the bed up?)", path.display()))?;
    setns(file, CloneFlags::CLONE_NEWNET)
        .with_context(|| format!("entering {}; this needs root", path.display()))
}

/// Does the work in the namespace; the calling thread stays where it is.
pub fn inside<T: Send>(namespace: &str, work: impl FnOnce() -> Result<T> + Send) -> Result<T> {
    thread::scope(|scope| {
        let worker = scope.spawn(|| {
            enter(namespace)?;
            work()
        });
        worker.join().map_err(|_| anyhow!("work in the namespace {namespace} panicked"))?
    })
}

/// A command that runs in the namespace. `ip netns exec` would hide `/sys/fs/cgroup`.
pub fn command(namespace: &str, program: impl AsRef<Path>) -> Command {
    let mut command = Command::new("nsenter");
    command.arg(format!("--net={}", path(namespace).display())).arg(program.as_ref());
    command
}

/// Makes the control plane's namespace with its bridge and addresses, unless it is there.
pub fn ensure_control_plane(layout: &Layout) -> Result<()> {
    let namespace = layout.network();
    ensure_namespace(&namespace)?;
    if !link_exists(&namespace, BRIDGE)? {
        ip(&namespace, &["link", "add", BRIDGE, "type", "bridge"])?;
    }
    ip(&namespace, &["link", "set", BRIDGE, "address", BRIDGE_ADDRESS])?;
    for address in [APISERVER, DNS] {
        ip(&namespace, &["addr", "replace", &format!("{address}/24"), "dev", BRIDGE])?;
    }
    ip(&namespace, &["link", "set", BRIDGE, "up"])?;
    // Without a route a packet to a service is refused before kube-proxy's rules can see it.
    ip(&namespace, &["route", "replace", SERVICES, "dev", BRIDGE])?;
    // Frames between nodes only pass through here: this namespace's packet filter (kube-proxy's
    // rules) must not see them.
    setting(&namespace, "bridge/bridge-nf-call-iptables", "0")
}

/// Makes the node's namespace, its cable to the bridge, and the routes, unless they are there.
pub fn ensure_node(node: &NodeLayout, nodes: u8) -> Result<()> {
    let (namespace, bed) = (node.network(), node.bed());
    ensure_cable(bed, &namespace, &node.cable(), &node.address())?;
    setting(&namespace, "ipv4/ip_forward", "1")?;
    ip(&bed.network(), &["route", "replace", &node.pods(), "via", &node.address()])?;
    let others = (1..=nodes).filter(|number| *number != node.number());
    ensure_pods(&namespace, others.map(|number| bed.node(number)))
}

/// Makes the server's namespace, its cable to the bridge, and the routes to the pods of so
/// many nodes, unless they are there.
pub fn ensure_server(server: &ServerLayout, nodes: u8) -> Result<()> {
    let (namespace, bed) = (server.network(), server.bed());
    ensure_cable(bed, &namespace, &server.cable(), &server.address())?;
    // Nodes remember the hardware address of an earlier server in the same place.
    ip(&namespace, &["link", "set", "eth0", "address", &server.hardware_address()])?;
    ensure_pods(&namespace, (1..=nodes).map(|number| bed.node(number)))
}

fn ensure_cable(bed: &Layout, namespace: &str, cable: &str, address: &str) -> Result<()> {
    let control_plane = bed.network();
    ensure_namespace(namespace)?;
    if !link_exists(namespace, "eth0")? {
        // A removed namespace lives on, with its end of the cable, while the kernel still tries to
        // tell somebody unreachable that a connection was closed.
        if link_exists(&control_plane, cable)? {
            ip(&control_plane, &["link", "delete", cable])?;
        }
        let far_end = ["type", "veth", "peer", "name", "eth0", "netns", namespace];
        ip(&control_plane, &[&["link", "add", cable], &far_end[..]].concat())?;
    }
    ip(&control_plane, &["link", "set", cable, "master", BRIDGE, "up"])?;
    ip(namespace, &["addr", "replace", &format!("{address}/24"), "dev", "eth0"])?;
    ip(namespace, &["link", "set", "eth0", "up"])?;
    ip(namespace, &["route", "replace", "default", "via", APISERVER])
}

/// Routes to the pods of these nodes.
fn ensure_pods(namespace: &str, mut nodes: impl Iterator<Item = NodeLayout>) -> Result<()> {
    nodes.try_for_each(|node| {
        ip(namespace, &["route", "replace", &node.pods(), "via", &node.address()])
    })
}

/// Unplugs the node's cable. The far end is taken: the node keeps its routes and only loses the
/// carrier.
pub fn unplug(node: &NodeLayout) -> Result<()> {
    ip(&node.bed().network(), &["link", "set", &node.cable(), "down"])
}

/// Plugs the node's cable in.
pub fn plug(node: &NodeLayout, nodes: u8) -> Result<()> {
    let control_plane = node.bed().network();
    ip(&control_plane, &["link", "set", &node.cable(), "up"])?;
    // Whoever asked in vain for a neighbour's hardware address takes it for unreachable for some
    // seconds more.
    ip(&node.network(), &["neighbour", "flush", "dev", "eth0"])?;
    ip(&control_plane, &["neighbour", "flush", "to", &node.address(), "dev", BRIDGE])?;
    for other in (1..=nodes).map(|number| node.bed().node(number)) {
        if other.number() != node.number() && path(&other.network()).exists() {
            ip(&other.network(), &["neighbour", "flush", "to", &node.address(), "dev", "eth0"])?;
        }
    }
    Ok(())
}

/// Whether the node's cable is plugged in.
pub fn is_plugged(node: &NodeLayout) -> Result<bool> {
    let links = output(&node.bed().network(), &["-o", "link", "show", &node.cable()])?;
    Ok(links.split(['<', '>']).nth(1).is_some_and(|flags| flags.split(',').any(|f| f == "UP")))
}

/// What a node's dead pods leave in its namespace; a machine that starts finds none of it.
pub fn clear_node(node: &NodeLayout) -> Result<()> {
    let namespace = node.network();
    if link_exists(&namespace, "cni0")? {
        ip(&namespace, &["link", "delete", "cni0"])?;
    }
    let mut flush = command(&namespace, "conntrack");
    shell::run(flush.arg("--flush"))
}

/// Removes the namespace with everything in it; it need not exist.
pub fn remove(namespace: &str) -> Result<()> {
    if path(namespace).exists() {
        shell::run(&mut shell::command("ip", &["netns", "delete", namespace]))?;
    }
    Ok(())
}

/// `ip netns add` mounts a directory for the names the first time; with no name left in it, it can
/// be as before.
pub fn remove_empty_directory() -> Result<()> {
    if fs::read_dir(DIRECTORY).is_ok_and(|mut names| names.next().is_none()) {
        // Fails where it was not mounted, or where someone has just made a namespace.
        let _ = nix::mount::umount2(DIRECTORY, nix::mount::MntFlags::empty());
        let _ = fs::remove_dir(DIRECTORY);
    }
    Ok(())
}

/// Makes a network namespace with nothing but its loopback, unless it is there.
pub fn ensure_namespace(namespace: &str) -> Result<()> {
    let path = path(namespace);
    // A run killed at the wrong moment leaves the name without the namespace behind it.
    if path.exists() && !is_namespace(&path)? {
        fs::remove_file(&path).with_context(|| format!("removing {}", path.display()))?;
    }
    if !path.exists() {
        shell::run(&mut shell::command("ip", &["netns", "add", namespace]))?;
    }
    ip(namespace, &["link", "set", "lo", "up"])
}

fn is_namespace(path: &Path) -> Result<bool> {
    let kind = nix::sys::statfs::statfs(path)
        .with_context(|| format!("looking at {}", path.display()))?
        .filesystem_type();
    Ok(kind == nix::sys::statfs::NSFS_MAGIC)
}

fn link_exists(namespace: &str, link: &str) -> Result<bool> {
    shell::succeeds(&mut shell::command("ip", &["-n", namespace, "link", "show", link]))
}

fn setting(namespace: &str, name: &str, value: &str) -> Result<()> {
    let file = Path::new("/proc/sys/net").join(name);
    inside(namespace, || {
        // The bridge's settings exist only with a kernel that passes bridged packets to the filter.
        if !file.exists() {
            return Ok(());
        }
        fs::write(&file, value).with_context(|| format!("setting {} to {value}", file.display()))
    })
}

fn ip(namespace: &str, arguments: &[&str]) -> Result<()> {
    output(namespace, arguments).map(|_| ())
}

fn output(namespace: &str, arguments: &[&str]) -> Result<String> {
    shell::output(shell::command("ip", &["-n", namespace]).args(arguments))
}
