//! One emulated machine, an NFS client.

use std::collections::HashMap;
use std::io::{BufRead as _, BufReader, Write as _};
use std::os::unix::net::UnixStream;
use std::path::PathBuf;
use std::process::{Child, Command};
use std::sync::atomic::{AtomicU32, Ordering};
use std::sync::mpsc::{Receiver, Sender, channel};
use std::sync::{Arc, Mutex, PoisonError};
use std::thread;
use std::time::Duration;

use anyhow::{Context as _, Result, bail};
use serde_json::json;
use testbed::{shell, wait};

use crate::actor::Actor;
use crate::lab::Records;
use crate::monitor::Monitor;
use crate::program::{Output, Program};
use crate::wire::{Event, News, Order, PORT};

/// A machine boots in some seconds, on a busy one it takes many times that.
const BOOT: Duration = Duration::from_mins(3);
/// For a program to start in a machine.
const START: Duration = Duration::from_mins(1);
/// Where the emulator's user network shows the lab's own loopback.
pub const SERVER: &str = "10.0.2.2";

/// What a machine boots.
#[derive(Clone, Debug)]
pub(crate) struct Boot {
    /// The kernel.
    pub kernel: PathBuf,
    /// Its root file system.
    pub root: PathBuf,
}

/// One emulated machine.
#[derive(Debug)]
pub struct Machine {
    name: String,
    emulator: Child,
    monitor: Mutex<Monitor>,
    port: Port,
    ready: Receiver<()>,
}

impl Machine {
    /// Starts the emulator; the machine still boots when this returns.
    pub(crate) fn start(
        label: &str,
        host_name: &str,
        boot: &Boot,
        records: &Records,
        mut command: Command,
    ) -> Result<Self> {
        let socket = |kind: &str| records.file(&format!("{label}.{kind}"));
        emulate(&mut command, boot, host_name, &socket);
        let mut machine = Unfinished(Some(records.spawn(label, &mut command)?));
        let connected = wait::until("the emulator's sockets", START, || {
            if let Some(child) = machine.0.as_mut()
                && let Some(status) = child.try_wait()?
            {
                bail!("the emulator of {label} ended: {status}{}", shell::log_tail(&socket("log")));
            }
            let Ok(monitor) = Monitor::connect(&socket("monitor")) else { return Ok(None) };
            let Ok(port) = UnixStream::connect(socket("port")) else { return Ok(None) };
            Ok(Some((monitor, port)))
        });
        let (monitor, stream) = connected?;
        let (port, ready) = Port::open(stream, socket("console"))?;
        let emulator = machine.0.take().context("the emulator is gone")?;
        Ok(Self { name: label.to_owned(), emulator, monitor: Mutex::new(monitor), port, ready })
    }

    /// Waits until it has booted.
    pub(crate) fn await_ready(&self) -> Result<()> {
        let Err(error) = self.ready.recv_timeout(BOOT) else { return Ok(()) };
        bail!("machine {} does not boot: {error}; {}", self.name, self.port.last_words())
    }

    /// Its name in the lab.
    pub fn name(&self) -> &str {
        &self.name
    }

    /// Starts a program.
    pub fn start_program(&self, argv: &[&str]) -> Result<Program> {
        self.start_program_with(argv, &[])
    }

    /// Starts a program with an environment.
    pub fn start_program_with(&self, argv: &[&str], with: &[(&str, &str)]) -> Result<Program> {
        let argv = argv.iter().map(|&word| word.to_owned()).collect();
        let environment =
            with.iter().map(|&(name, value)| (name.to_owned(), value.to_owned())).collect();
        Program::start(self.port.clone(), argv, environment, START)
            .with_context(|| format!("on {}", self.name))
    }

    /// Runs a program to its end.
    pub fn run(&self, argv: &[&str], patience: Duration) -> Result<Output> {
        self.start_program(argv)?.output(patience).with_context(|| format!("on {}", self.name))
    }

    /// Runs a line of shell that has to succeed, and returns what it printed.
    pub fn shell(&self, line: &str) -> Result<String> {
        let output = self.run(&["busybox", "sh", "-c", line], START)?;
        output.text().with_context(|| format!("`{line}` on {}", self.name))
    }

    /// Starts a process that makes system calls as it is told.
    pub fn actor(&self) -> Result<Actor> {
        self.start_program(&["nfslab-guest", "actor"]).map(Actor::new)
    }

    /// Mounts a directory of the server's.
    pub fn mount(&self, remote: &str, at: &str, options: &str) -> Result<()> {
        let fixed = format!("addr={SERVER},proto=tcp");
        self.shell(&format!(
            "mkdir -p {at} && mount -t nfs -o {options},{fixed} {SERVER}:{remote} {at}"
        ))?;
        Ok(())
    }

    /// Starts what an NFSv3 client's kernel asks before it takes a lock.
    pub fn start_lock_daemons(&self) -> Result<()> {
        self.shell("mkdir -p /run/rpcbind && rpcbind && rpc.statd --no-notify")?;
        Ok(())
    }

    /// Unplugs its cable, or plugs it in.
    pub fn set_link(&self, up: bool) -> Result<()> {
        let command = json!({"execute": "set_link", "arguments": {"name": "cable", "up": up}});
        let mut monitor = self.monitor.lock().unwrap_or_else(PoisonError::into_inner);
        monitor.execute(&command).with_context(|| format!("the cable of {}", self.name))
    }
}

impl Drop for Machine {
    fn drop(&mut self) {
        end(&mut self.emulator);
    }
}

/// Ends an emulator whose machine is not complete.
struct Unfinished(Option<Child>);

impl Drop for Unfinished {
    fn drop(&mut self) {
        if let Some(emulator) = self.0.as_mut() {
            end(emulator);
        }
    }
}

fn end(child: &mut Child) {
    // It may have ended by itself.
    drop(child.kill());
    drop(child.wait());
}

fn emulate(command: &mut Command, boot: &Boot, host_name: &str, socket: &dyn Fn(&str) -> PathBuf) {
    let unix = |kind: &str| format!("path={},server=on,wait=off", socket(kind).display());
    command
        // Without a source of random numbers all that wants some waits for minutes: the agent, too.
        .args(["-accel", "tcg", "-cpu", "qemu64,+rdrand", "-m", "256", "-nodefaults"])
        .args(["-display", "none", "-no-reboot"])
        .arg("-kernel")
        .arg(&boot.kernel)
        .arg("-initrd")
        .arg(&boot.root)
        .args([
            "-append",
            &format!(
                "console=ttyS0 quiet panic=-1 no_timer_check rdinit=/bin/nfslab-guest nfslab.host={host_name}"
            ),
        ])
        .args(["-serial", &format!("file:{}", socket("console").display())])
        .args(["-netdev", "user,id=cable", "-device", "virtio-net-pci,netdev=cable,romfile="])
        .args(["-device", "virtio-serial-pci"])
        .args(["-chardev", &format!("socket,id=port,{}", unix("port"))])
        .args(["-device", &format!("virtserialport,chardev=port,name={PORT}")])
        .args(["-chardev", &format!("socket,id=monitor,{}", unix("monitor"))])
        .args(["-mon", "chardev=monitor,mode=control"]);
}

/// The line to process 1 of a machine. Cheap to clone.
#[derive(Clone, Debug)]
pub(crate) struct Port {
    writer: Arc<Mutex<UnixStream>>,
    programs: Arc<Mutex<HashMap<u32, Sender<Event>>>>,
    next: Arc<AtomicU32>,
    console: PathBuf,
}

impl Port {
    fn open(stream: UnixStream, console: PathBuf) -> Result<(Self, Receiver<()>)> {
        let reader = BufReader::new(stream.try_clone().context("sharing the machine's port")?);
        let port = Self {
            writer: Arc::new(Mutex::new(stream)),
            programs: Arc::default(),
            next: Arc::default(),
            console,
        };
        let (ready, is_ready) = channel();
        let programs = Arc::clone(&port.programs);
        thread::spawn(move || listen(reader, &programs, &ready));
        Ok((port, is_ready))
    }

    /// A number for a new program, and what will be heard of it.
    pub fn register(&self) -> (u32, Receiver<Event>) {
        let number = self.next.fetch_add(1, Ordering::Relaxed);
        let (sender, events) = channel();
        self.programs.lock().unwrap_or_else(PoisonError::into_inner).insert(number, sender);
        (number, events)
    }

    pub fn send(&self, order: &Order) -> Result<()> {
        let mut line = serde_json::to_vec(order)?;
        line.push(b'\n');
        let mut writer = self.writer.lock().unwrap_or_else(PoisonError::into_inner);
        writer.write_all(&line).context("writing to the machine")
    }

    /// The end of what the machine's kernel said, for errors.
    pub fn last_words(&self) -> String {
        format!("the machine's console:{}", shell::log_tail(&self.console))
    }
}

/// Hands on what the machine says. When it ends, so do all channels.
fn listen(
    reader: BufReader<UnixStream>,
    programs: &Mutex<HashMap<u32, Sender<Event>>>,
    ready: &Sender<()>,
) {
    for line in reader.lines().map_while(Result::ok) {
        match serde_json::from_str(&line) {
            // Nobody may wait for it any more, as for the news of a program that was let go.
            Ok(News::Ready) => drop(ready.send(())),
            Ok(News::Of { program, event }) => {
                let programs = programs.lock().unwrap_or_else(PoisonError::into_inner);
                if let Some(sender) = programs.get(&program) {
                    drop(sender.send(event));
                }
            }
            Err(error) => eprintln!("from a machine: {line}: {error}"),
        }
    }
    programs.lock().unwrap_or_else(PoisonError::into_inner).clear();
}
