//! Starts programs as told over the serial port, and says what becomes of them.

use std::collections::HashMap;
use std::fs::{self, File};
use std::io::{BufRead as _, BufReader, Read, Write as _};
use std::os::unix::process::ExitStatusExt as _;
use std::path::PathBuf;
use std::process::{Child, ChildStdin, Command, Stdio};
use std::sync::{Arc, Mutex, PoisonError};
use std::thread;

use anyhow::{Context as _, Result};
use nfslab::wire::{Event, News, Order, PORT};
use nix::sys::signal::{Signal, kill};
use nix::unistd::Pid;

/// Where programs are found.
const SEARCH_PATH: &str = "/bin:/usr/sbin";

struct Running {
    pid: i32,
    input: Option<ChildStdin>,
}

/// Serves for ever.
pub fn run() -> Result<()> {
    let port = File::options().read(true).write(true).open(port()?).context("opening the port")?;
    let news = Speaker(Arc::new(Mutex::new(port.try_clone().context("sharing the port")?)));
    let mut programs = HashMap::new();
    news.say(&News::Ready);
    for line in BufReader::new(port).lines() {
        let line = line.context("reading orders")?;
        let order = serde_json::from_str(&line).with_context(|| format!("an order: {line}"))?;
        obey(order, &mut programs, &news);
    }
    Ok(())
}

/// The serial port is named by a file of sysfs; the device next to it has a number.
fn port() -> Result<PathBuf> {
    for entry in fs::read_dir("/sys/class/virtio-ports").context("listing ports")? {
        let entry = entry?;
        if fs::read_to_string(entry.path().join("name")).is_ok_and(|name| name.trim() == PORT) {
            return Ok(PathBuf::from("/dev").join(entry.file_name()));
        }
    }
    anyhow::bail!("this machine has no port named {PORT}")
}

fn obey(order: Order, programs: &mut HashMap<u32, Running>, news: &Speaker) {
    match order {
        Order::Start { program, argv, environment } => match start(&argv, environment) {
            Ok(mut child) => {
                let pid = i32::try_from(child.id()).unwrap_or_default();
                programs.insert(program, Running { pid, input: child.stdin.take() });
                news.of(program, Event::Started(pid));
                follow(program, child, news);
            }
            Err(error) => news.of(program, Event::Failed(format!("{error:#}"))),
        },
        Order::Input { program, line } => {
            let input = programs.get_mut(&program).and_then(|running| running.input.as_mut());
            if let Some(input) = input {
                // A program that has ended takes no input, and its end was told.
                drop(writeln!(input, "{line}"));
            }
        }
        Order::Signal { program, signal } => {
            if let (Some(running), Ok(signal)) = (programs.get(&program), Signal::try_from(signal))
            {
                // As above.
                kill(Pid::from_raw(running.pid), signal).unwrap_or_default();
            }
        }
    }
}

fn start(argv: &[String], environment: Vec<(String, String)>) -> Result<Child> {
    let (program, arguments) = argv.split_first().context("no program")?;
    Command::new(program)
        .args(arguments)
        .env_clear()
        .env("PATH", SEARCH_PATH)
        .envs(environment)
        .stdin(Stdio::piped())
        .stdout(Stdio::piped())
        .stderr(Stdio::piped())
        .spawn()
        .with_context(|| format!("starting {program}"))
}

/// Tells what the program prints and how it ends.
fn follow(program: u32, mut child: Child, news: &Speaker) {
    let outputs = [
        child.stdout.take().map(|output| repeat(program, output, news)),
        child.stderr.take().map(|output| repeat(program, output, news)),
    ];
    let news = news.clone();
    thread::spawn(move || {
        let Ok(status) = child.wait() else { return };
        // A daemon that the program started would keep its outputs open: only what is there.
        for output in outputs.into_iter().flatten() {
            output.recv_timeout(std::time::Duration::from_secs(1)).unwrap_or_default();
        }
        news.of(program, Event::Ended { code: status.code(), signal: status.signal() });
    });
}

/// Tells each line; what is returned ends with the output.
fn repeat(
    program: u32,
    output: impl Read + Send + 'static,
    news: &Speaker,
) -> std::sync::mpsc::Receiver<()> {
    let (done, ended) = std::sync::mpsc::channel();
    let news = news.clone();
    thread::spawn(move || {
        for line in BufReader::new(output).lines().map_while(Result::ok) {
            news.of(program, Event::Line(line));
        }
        drop(done);
    });
    ended
}

/// Says one thing after the other.
#[derive(Clone)]
struct Speaker(Arc<Mutex<File>>);

impl Speaker {
    fn of(&self, program: u32, event: Event) {
        self.say(&News::Of { program, event });
    }

    fn say(&self, news: &News) {
        let Ok(mut line) = serde_json::to_vec(news) else { return };
        line.push(b'\n');
        let mut port = self.0.lock().unwrap_or_else(PoisonError::into_inner);
        // Without a listener there is nobody to tell of the failure.
        drop(port.write_all(&line));
    }
}
