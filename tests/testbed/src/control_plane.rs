//! The control plane: its database, its three Kubernetes components and DNS.

use std::net::{SocketAddr, TcpStream};
use std::process::Command;
use std::time::Duration;

use anyhow::{Context, Result, bail};
use nix::sys::signal::Signal;

use crate::layout::{APISERVER, DNS, Layout, PODS, SERVICES};
use crate::process::State;
use crate::{cgroup, credentials, daemon, dns, network, shell, wait};

/// A process of the control plane.
#[derive(Clone, Copy, Debug, PartialEq, Eq, clap::ValueEnum)]
pub enum Component {
    /// The cluster's database.
    Etcd,
    /// The API server.
    Apiserver,
    /// The controllers of Kubernetes' own kinds.
    ControllerManager,
    /// Chooses nodes for pods.
    Scheduler,
    /// The cluster's DNS.
    Coredns,
    /// Makes services reachable from the control plane's own network namespace.
    Proxy,
}

/// All components in the order they start.
pub const COMPONENTS: [Component; 6] = [
    Component::Etcd,
    Component::Apiserver,
    Component::ControllerManager,
    Component::Scheduler,
    Component::Coredns,
    Component::Proxy,
];

/// A component of one bed.
#[derive(Debug)]
pub struct ComponentControl<'a> {
    layout: &'a Layout,
    component: Component,
}

impl Component {
    /// The name of the component's log and record.
    pub fn name(self) -> &'static str {
        match self {
            Component::Etcd => "etcd",
            Component::Apiserver => "apiserver",
            Component::ControllerManager => "controller-manager",
            Component::Scheduler => "scheduler",
            Component::Coredns => "coredns",
            Component::Proxy => "proxy",
        }
    }

    fn command(self, layout: &Layout) -> Command {
        match self {
            Component::Etcd => etcd(layout),
            Component::Apiserver => apiserver(layout),
            Component::ControllerManager => controller_manager(layout),
            Component::Scheduler => scheduler(layout),
            Component::Coredns => dns::command(layout),
            Component::Proxy => proxy(layout),
        }
    }
}

impl<'a> ComponentControl<'a> {
    pub(crate) fn new(layout: &'a Layout, component: Component) -> Self {
        ComponentControl { layout, component }
    }

    /// What the component is doing.
    pub fn state(&self) -> Result<State> {
        daemon::running(self.layout, self.component.name())?
            .map_or(Ok(State::Gone), |process| process.state())
    }

    /// Ends the component; it need not run.
    pub fn stop(&self) -> Result<()> {
        daemon::stop(self.layout, self.component.name())
    }

    /// Starts the component and waits until it serves; it may run already, or be frozen.
    pub fn start(&self) -> Result<()> {
        self.launch()?;
        self.await_service()
    }

    pub(crate) fn launch(&self) -> Result<()> {
        let name = self.component.name();
        match daemon::running(self.layout, name)? {
            Some(process) => process.signal(Signal::SIGCONT),
            None => {
                let command = self.component.command(self.layout);
                cgroup::create(&self.layout.cgroup())?;
                daemon::start(self.layout, name, &self.layout.cgroup(), &command).map(|_| ())
            }
        }
    }

    /// Stops the component's process in its tracks; its connections stay open.
    pub fn freeze(&self) -> Result<()> {
        self.signal(Signal::SIGSTOP)
    }

    /// Lets a frozen component go on.
    pub fn thaw(&self) -> Result<()> {
        self.signal(Signal::SIGCONT)
    }

    fn signal(&self, signal: Signal) -> Result<()> {
        match daemon::running(self.layout, self.component.name())? {
            Some(process) => process.signal(signal),
            None => bail!("{} is not running; start it first", self.component.name()),
        }
    }

    pub(crate) fn await_service(&self) -> Result<()> {
        let name = self.component.name();
        let log = self.layout.log(name);
        wait::until(&format!("{name} to serve"), Duration::from_secs(60), || {
            if self.state()? == State::Gone {
                bail!("{name} ended")
            }
            Ok(self.serves()?.then_some(()))
        })
        .with_context(|| format!("see {}{}", log.display(), shell::log_tail(&log)))
    }

    fn serves(&self) -> Result<bool> {
        let address = match self.component {
            Component::Apiserver => {
                return shell::succeeds(kubectl(self.layout).args(["get", "--raw", "/readyz"]));
            }
            // It waits for the first node, which may come up later.
            Component::Proxy => return Ok(true),
            Component::Etcd => (APISERVER, 2379),
            Component::ControllerManager => (APISERVER, 10257),
            Component::Scheduler => (APISERVER, 10259),
            Component::Coredns => (DNS, 53),
        };
        let address = SocketAddr::new(address.0.parse()?, address.1);
        network::inside(&self.layout.network(), || {
            Ok(TcpStream::connect_timeout(&address, Duration::from_secs(1)).is_ok())
        })
    }
}

/// A kubectl command as the administrator.
pub fn kubectl(layout: &Layout) -> Command {
    let mut command = network::command(&layout.network(), layout.bin().join("kubectl"));
    command
        .arg(format!("--kubeconfig={}", layout.kubeconfig(credentials::ADMIN).display()))
        .env("KUBECACHEDIR", layout.root().join("kubectl-cache"));
    without_proxy(&mut command);
    command
}

/// The caller may be told to use a proxy for HTTP; it does not reach the bed.
pub(crate) fn without_proxy(command: &mut Command) {
    command.env("NO_PROXY", "*").env("no_proxy", "*");
}

fn etcd(layout: &Layout) -> Command {
    let mut etcd = network::command(&layout.network(), "etcd");
    etcd.arg(format!("--data-dir={}", layout.root().join("etcd").display()))
        .arg(format!("--listen-client-urls=http://{APISERVER}:2379"))
        .arg(format!("--advertise-client-urls=http://{APISERVER}:2379"))
        .arg("--listen-peer-urls=http://127.0.0.1:2380")
        // A test's data need not survive the machine.
        .arg("--unsafe-no-fsync");
    etcd
}

fn apiserver(layout: &Layout) -> Command {
    let certificates = layout.certificates();
    let file = |name: &str| certificates.join(name).display().to_string();
    let mut apiserver = component(layout, "kube-apiserver");
    apiserver
        .arg(format!("--etcd-servers=http://{APISERVER}:2379"))
        .arg(format!("--bind-address={APISERVER}"))
        .arg(format!("--advertise-address={APISERVER}"))
        .arg("--secure-port=6443")
        .arg(format!("--tls-cert-file={}", file("apiserver.crt")))
        .arg(format!("--tls-private-key-file={}", file("apiserver.key")))
        .arg(format!("--cert-dir={}", file("unused")))
        // Also makes the API server publish how extensions authenticate its requests, which the
        // other components look for.
        .arg(format!("--client-ca-file={}", file("ca.crt")))
        .arg(format!("--token-auth-file={}", file("tokens.csv")))
        .arg("--authorization-mode=Node,RBAC")
        .arg("--enable-admission-plugins=NodeRestriction")
        .arg(format!("--service-cluster-ip-range={SERVICES}"))
        .arg(format!("--service-account-issuer={}", credentials::token_issuer()))
        .arg(format!("--service-account-key-file={}", file("service-accounts.pub")))
        .arg(format!("--service-account-signing-key-file={}", file("service-accounts.key")))
        .arg("--allow-privileged=true")
        // Node names are not in any DNS: logs and exec must go to addresses.
        .arg("--kubelet-preferred-address-types=InternalIP")
        .arg("--profiling=false");
    apiserver
}

fn controller_manager(layout: &Layout) -> Command {
    let certificates = layout.certificates();
    let mut manager = as_user(layout, "kube-controller-manager", credentials::CONTROLLER_MANAGER);
    manager
        .arg("--use-service-account-credentials=true")
        .arg(format!(
            "--service-account-private-key-file={}",
            certificates.join("service-accounts.key").display()
        ))
        // What pods find in their service account as ca.crt.
        .arg(format!("--root-ca-file={}", certificates.join("ca.crt").display()));
    manager
}

fn scheduler(layout: &Layout) -> Command {
    as_user(layout, "kube-scheduler", credentials::SCHEDULER)
}

fn as_user(layout: &Layout, program: &str, user: &str) -> Command {
    let kubeconfig = layout.kubeconfig(user);
    let mut command = component(layout, program);
    for flag in ["kubeconfig", "authentication-kubeconfig", "authorization-kubeconfig"] {
        command.arg(format!("--{flag}={}", kubeconfig.display()));
    }
    command
        // There is only one: no need to wait for a lease.
        .arg("--leader-elect=false")
        .arg("--profiling=false")
        .arg(format!("--cert-dir={}", layout.certificates().join(user).display()));
    command
}

/// A service proxy for programs in the control plane's namespace. A proxy waits for the node it
/// is named after, so it takes the first node's name; only node-local traffic policies care.
fn proxy(layout: &Layout) -> Command {
    let mut proxy = component(layout, "kube-proxy");
    proxy.args(proxy_arguments(layout, &layout.node(1).name()));
    proxy
}

/// How every service proxy of the bed runs.
pub(crate) fn proxy_arguments(layout: &Layout, host: &str) -> Vec<String> {
    vec![
        format!("--kubeconfig={}", layout.kubeconfig(credentials::PROXY).display()),
        format!("--hostname-override={host}"),
        "--proxy-mode=nftables".to_owned(),
        format!("--cluster-cidr={PODS}"),
        // Connection tracking's settings cannot be written from a namespace: leave them alone.
        "--conntrack-max-per-core=0".to_owned(),
        "--conntrack-tcp-timeout-established=0".to_owned(),
        "--conntrack-tcp-timeout-close-wait=0".to_owned(),
    ]
}

fn component(layout: &Layout, name: &str) -> Command {
    network::command(&layout.network(), layout.bin().join(name))
}
