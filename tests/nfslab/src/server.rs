//! The NFS server: nfs-ganesha over a directory of this machine.

use std::fs;
use std::path::{Path, PathBuf};
use std::process::{Child, Command};
use std::time::Duration;

use anyhow::{Context as _, Result, bail};
use testbed::{network, shell, wait};

use crate::lab::{EXPORT, Records};

/// Debian's packages with the server and with what its side of NFSv3's locks needs.
pub(crate) const PACKAGES: [&str; 4] = ["nfs-common", "nfs-ganesha", "nfs-ganesha-vfs", "rpcbind"];
/// How long the server keeps the locks of a client that it does not hear of. The shortest that a
/// test can do with: usual servers have 30 to 90 s.
pub const LEASE: Duration = Duration::from_secs(10);
/// After its start the server grants only locks that were held before, for so long: nobody held any.
const FIRST_GRACE: Duration = Duration::from_secs(5);
/// After another start, clients have to find the server within that, and try some seconds apart.
const GRACE: Duration = Duration::from_secs(15);
/// For a program to start on a busy machine, beyond its own waiting.
const PATIENCE: Duration = Duration::from_mins(1);

/// A running NFS server, on the loopback of its network namespace.
#[derive(Debug)]
pub struct Server {
    directory: PathBuf,
    lease: Duration,
    namespace: String,
    records: Records,
    starts: u32,
    ganesha: Option<Child>,
    daemons: Vec<Child>,
}

impl Server {
    /// Starts a server in the namespace, and waits until it grants locks.
    pub(crate) fn start(lease: Duration, namespace: &str, records: &Records) -> Result<Self> {
        let directory = records.file("");
        for name in ["export", "recovery", "run", "nfs/sm", "nfs/sm.bak"] {
            let path = directory.join(name);
            fs::create_dir_all(&path).with_context(|| format!("creating {}", path.display()))?;
        }
        let mut server = Self {
            directory,
            lease,
            namespace: namespace.to_owned(),
            records: records.clone(),
            starts: 0,
            ganesha: None,
            daemons: Vec::new(),
        };
        server.start_daemons()?;
        server.restart()?;
        server.await_locks()?;
        Ok(server)
    }

    /// Kills the server and starts it again. It serves when this returns, and grants new locks some
    /// seconds later.
    pub fn restart(&mut self) -> Result<()> {
        if let Some(ganesha) = self.ganesha.as_mut() {
            ganesha.kill().context("killing the server")?;
            ganesha.wait().context("the server's end")?;
        }
        let grace = if self.starts == 0 { FIRST_GRACE } else { GRACE };
        self.starts += 1;
        let configuration = self.directory.join("ganesha.conf");
        fs::write(&configuration, settings(&self.directory, self.lease, grace))
            .context("writing the server's configuration")?;
        let pid = self.directory.join("ganesha.pid");
        let mut command = self.command("ganesha.nfsd");
        command.args(["-F", "-f"]).arg(configuration).arg("-L").arg(self.log()).arg("-p").arg(pid);
        self.ganesha = Some(self.records.spawn("ganesha", &mut command)?);
        self.await_log("NFS SERVER INITIALIZED")
    }

    /// Waits until the server grants locks also to those who held none before its start.
    pub fn await_locks(&mut self) -> Result<()> {
        self.await_log("NFS Server Now NOT IN GRACE")
    }

    /// The directory that clients mount, as the server sees it.
    pub fn export(&self) -> PathBuf {
        self.directory.join("export")
    }

    /// NFSv3 needs a port mapper, and the server's lock manager a status monitor.
    fn start_daemons(&mut self) -> Result<()> {
        let mapper = self.records.spawn("rpcbind", self.command("rpcbind").arg("-f"))?;
        self.daemons.push(mapper);
        let socket = self.directory.join("run/rpcbind.sock");
        wait::until("the port mapper", PATIENCE, || Ok(socket.exists().then_some(())))?;
        let mut command = self.command("rpc.statd");
        let monitor = self.records.spawn("statd", command.args(["-F", "--no-notify"]))?;
        self.daemons.push(monitor);
        Ok(())
    }

    /// A command that sees the lab's own directories where daemons keep sockets and state.
    fn command(&self, program: &str) -> Command {
        const SCRIPT: &str = "mount --bind \"$1\" /run && mount --bind \"$2\" /var/lib/nfs \
                              && shift 2 && exec \"$@\"";
        let mut command = network::command(&self.namespace, "unshare");
        command.args(["--mount", "--propagation", "private", "sh", "-c", SCRIPT, "sh"]);
        command.arg(self.directory.join("run")).arg(self.directory.join("nfs")).arg(program);
        command
    }

    fn log(&self) -> PathBuf {
        self.directory.join(format!("ganesha-{}.log", self.starts))
    }

    fn await_log(&mut self, text: &str) -> Result<()> {
        let log = self.log();
        let ganesha = self.ganesha.as_mut().context("the server was never started")?;
        let waited = wait::until(&format!("`{text}`"), PATIENCE, || {
            if let Some(status) = ganesha.try_wait()? {
                bail!("the NFS server ended: {status}");
            }
            let said = fs::read_to_string(&log).unwrap_or_default();
            Ok(said.contains(text).then_some(()))
        });
        waited.with_context(|| format!("the NFS server's log:{}", shell::log_tail(&log)))
    }
}

impl Drop for Server {
    fn drop(&mut self) {
        for child in self.ganesha.iter_mut().chain(&mut self.daemons) {
            // It may have ended by itself.
            drop(child.kill());
            drop(child.wait());
        }
    }
}

/// Without an address to bind to: the namespace has only its loopback, by which ganesha's resolver
/// finds none. Users are sent as numbers: a client that cannot tell whose a file is, because nothing
/// in it maps names, asks again at every `stat`, as if it cached nothing.
fn settings(directory: &Path, lease: Duration, grace: Duration) -> String {
    format!(
        "NFS_CORE_PARAM {{
    Protocols = 3, 4;
    NFS_Port = 2049;
    MNT_Port = 20048;
    NLM_Port = 32803;
    Enable_NLM = true;
    Enable_RQUOTA = false;
    Enable_UDP = false;
    Mount_Path_Pseudo = true;
}}
NFSv4 {{
    Lease_Lifetime = {lease};
    Grace_Period = {grace};
    Minor_Versions = 0, 1, 2;
    Only_Numeric_Owners = true;
    RecoveryBackend = fs;
    RecoveryRoot = \"{directory}/recovery\";
}}
NFS_KRB5 {{ Active_krb5 = false; }}
EXPORT {{
    Export_Id = 1;
    Path = \"{directory}/export\";
    Pseudo = \"{EXPORT}\";
    Access_Type = RW;
    Squash = No_Root_Squash;
    SecType = sys;
    FSAL {{ Name = VFS; }}
}}
LOG {{ Default_Log_Level = EVENT; }}
",
        lease = lease.as_secs(),
        grace = grace.as_secs(),
        directory = directory.display(),
    )
}
