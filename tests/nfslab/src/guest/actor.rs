//! A process that makes one system call after the other, as told on its standard input, and says
//! how long each took.

use std::fs::{self, File};
use std::io::{self, BufRead as _, Read as _, Write as _};
use std::net::{Ipv4Addr, TcpStream};
use std::os::unix::fs::{FileExt as _, MetadataExt as _};
use std::path::Path;
use std::thread::sleep;
use std::time::{Duration, Instant};

use anyhow::{Context as _, Result};
use nfslab::wire::{Call, Reply, Value, tick_line};
use nix::errno::Errno;
use nix::fcntl::{FcntlArg, fcntl};
use nix::libc;
use nix::sys::signal::{Signal, kill};
use nix::unistd::Pid;
use rustix::fs::{AtFlags, CWD, StatxFlags, Timespec, Timestamps, UTIME_NOW};

/// How often a waiting locker tries.
const POLL: Duration = Duration::from_millis(100);
/// How long an HTTP server may say nothing.
const GET: Duration = Duration::from_secs(10);

/// Obeys until its input ends.
pub fn run() -> Result<()> {
    let mut actor = Actor { files: Vec::new() };
    for line in io::stdin().lock().lines() {
        let line = line.context("reading a call")?;
        let call = serde_json::from_str(&line).with_context(|| format!("a call: {line}"))?;
        if let Call::Tick { file, every_millis } = call {
            actor.tick(file, Duration::from_millis(every_millis))?;
        }
        let begun = Instant::now();
        answer(begun, actor.make(&call))?;
    }
    Ok(())
}

fn answer(begun: Instant, result: io::Result<Value>) -> Result<()> {
    let took_millis = u64::try_from(begun.elapsed().as_millis())?;
    let errno = |error: io::Error| error.raw_os_error().unwrap_or(libc::EINVAL);
    let reply = Reply { took_millis, result: result.map_err(errno) };
    let mut output = io::stdout().lock();
    writeln!(output, "{}", serde_json::to_string(&reply)?).context("answering")?;
    output.flush().context("answering")
}

struct Actor {
    files: Vec<File>,
}

impl Actor {
    fn make(&mut self, call: &Call) -> io::Result<Value> {
        match call {
            Call::Open(path) => {
                let file = File::options()
                    .read(true)
                    .write(true)
                    .create(true)
                    .truncate(false)
                    .open(path)?;
                self.files.push(file);
            }
            Call::OpenToRead(path) => self.files.push(File::open(path)?),
            Call::CloseAll => self.files.clear(),
            Call::TryLock(file) => set_lock(self.file(*file)?)?,
            Call::WaitForLock(file) => wait_for_lock(self.file(*file)?)?,
            Call::AskLock(file) => return ask_lock(self.file(*file)?),
            Call::ShowsLock(file) => return shows_lock(self.file(*file)?).map(Value::Is),
            Call::Write(file, text) => self.file(*file)?.write_all_at(text.as_bytes(), 0)?,
            Call::Sync(file) => self.file(*file)?.sync_all()?,
            Call::Read(path) => return fs::read_to_string(path).map(Value::Text),
            Call::Put(path, text) => put(path, text)?,
            Call::Get(port, path) => return get(*port, path),
            Call::Kill(pid, signal) => kill(Pid::from_raw(*pid), Signal::try_from(*signal)?)?,
            Call::Touch(path) => touch(path)?,
            Call::Stat(path) => return fs::metadata(path).map(|data| stat(&data)),
            Call::StatForced(path) => return forced(path, StatxFlags::BASIC_STATS),
            Call::TypeForced(path) => return forced(path, StatxFlags::TYPE),
            Call::OpenStat(path) => return File::open(path)?.metadata().map(|data| stat(&data)),
            Call::FileStat(file) => return self.file(*file)?.metadata().map(|data| stat(&data)),
            Call::FsStat(path) => drop(rustix::fs::statfs(path.as_str())?),
            // Never ends, so it is not a call among others.
            Call::Tick { .. } => return Err(Errno::EINVAL.into()),
        }
        Ok(Value::Done)
    }

    fn file(&self, number: usize) -> io::Result<&File> {
        self.files.get(number).ok_or_else(|| Errno::EBADF.into())
    }

    /// Goes on after an error, as a broker's threads may.
    fn tick(&self, file: usize, period: Duration) -> Result<()> {
        let file = self.file(file)?;
        let mut number = 0;
        loop {
            let begun = Instant::now();
            let line = tick_line(number);
            let at = u64::from(number) * line.len() as u64;
            let written = file.write_all_at(line.as_bytes(), at);
            answer(begun, written.map(|()| Value::Line(number)))?;
            number += 1;
            sleep(period.saturating_sub(begun.elapsed()));
        }
    }
}

fn flock(kind: i32, length: i64) -> libc::flock {
    libc::flock {
        l_type: i16::try_from(kind).unwrap_or_default(),
        l_whence: i16::try_from(libc::SEEK_SET).unwrap_or_default(),
        l_start: 0,
        l_len: length,
        l_pid: 0,
    }
}

fn set_lock(file: &File) -> io::Result<()> {
    fcntl(file, FcntlArg::F_SETLK(&flock(libc::F_WRLCK, 8)))?;
    Ok(())
}

/// Whether nobody else holds it.
pub fn try_lock(file: &File) -> io::Result<bool> {
    match set_lock(file) {
        Ok(()) => Ok(true),
        Err(error) => {
            let held = [libc::EAGAIN, libc::EACCES].map(Some).contains(&error.raw_os_error());
            if held { Ok(false) } else { Err(error) }
        }
    }
}

pub fn wait_for_lock(file: &File) -> io::Result<()> {
    while !try_lock(file)? {
        sleep(POLL);
    }
    Ok(())
}

fn ask_lock(file: &File) -> io::Result<Value> {
    let mut lock = flock(libc::F_WRLCK, 0);
    fcntl(file, FcntlArg::F_GETLK(&mut lock))?;
    let free = i32::from(lock.l_type) == libc::F_UNLCK;
    Ok(if free { Value::Free } else { Value::HeldBy(lock.l_pid) })
}

fn shows_lock(file: &File) -> io::Result<bool> {
    use std::os::fd::AsRawFd as _;
    let text = fs::read_to_string(format!("/proc/self/fdinfo/{}", file.as_raw_fd()))?;
    Ok(text.lines().any(|line| line.starts_with("lock:")))
}

fn put(path: &str, text: &str) -> io::Result<()> {
    if let Some(directory) = Path::new(path).parent() {
        fs::create_dir_all(directory)?;
    }
    fs::write(path, text)
}

fn get(port: u16, path: &str) -> io::Result<Value> {
    let mut stream = TcpStream::connect((Ipv4Addr::LOCALHOST, port))?;
    stream.set_read_timeout(Some(GET))?;
    write!(stream, "GET {path} HTTP/1.1\r\nHost: lab\r\nConnection: close\r\n\r\n")?;
    let mut answer = String::new();
    stream.read_to_string(&mut answer)?;
    let parsed = answer.split_once("\r\n\r\n").and_then(|(head, body)| {
        let status = head.split(' ').nth(1)?.parse().ok()?;
        Some(Value::Answer { status, body: body.to_owned() })
    });
    parsed.ok_or_else(|| Errno::EPROTO.into())
}

fn touch(path: &str) -> io::Result<()> {
    let now = || Timespec { tv_sec: 0, tv_nsec: UTIME_NOW };
    let times = Timestamps { last_access: now(), last_modification: now() };
    Ok(rustix::fs::utimensat(CWD, path, &times, AtFlags::empty())?)
}

fn forced(path: &str, wanted: StatxFlags) -> io::Result<Value> {
    let found = rustix::fs::statx(CWD, path, AtFlags::STATX_FORCE_SYNC, wanted)?;
    let modified = found.stx_mtime;
    Ok(Value::Stat {
        inode: found.stx_ino,
        size: found.stx_size,
        modified_nanos: modified.tv_sec * 1_000_000_000 + i64::from(modified.tv_nsec),
    })
}

fn stat(data: &fs::Metadata) -> Value {
    Value::Stat {
        inode: data.ino(),
        size: data.size(),
        modified_nanos: data.mtime() * 1_000_000_000 + data.mtime_nsec(),
    }
}
