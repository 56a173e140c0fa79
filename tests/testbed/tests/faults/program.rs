//! A program on a node that locks and writes a file when it is told to.

use std::fs::{File, OpenOptions};
use std::io::{BufRead, BufReader, Read, Write, stdin};
use std::os::fd::AsRawFd;
use std::os::unix::fs::{FileExt, MetadataExt};
use std::path::Path;
use std::process::{Child, ChildStdin, Stdio};
use std::sync::mpsc::{Receiver, channel};
use std::time::Duration;
use std::{env, fs, io, process, thread};

use nix::errno::Errno;
use nix::fcntl::{FcntlArg, fcntl};
use nix::libc;
use testbed::{Node, wait};

/// What tells answers from what the test harness prints.
const MARK: &str = "answer: ";

/// Long enough for any answer.
const LIMIT: Duration = Duration::from_secs(60);

/// The program, which ends with its node and with this.
pub struct Program {
    child: Child,
    questions: ChildStdin,
    answers: Receiver<String>,
    /// Its process id on the node.
    pub pid: String,
}

impl Program {
    /// Starts it on the node, with the file open.
    pub fn start(node: &Node, file: &Path) -> Program {
        Program::start_by(node, &[], file)
    }

    /// Starts it on the node through another program.
    pub fn start_by(node: &Node, through: &[&str], file: &Path) -> Program {
        let this = env::current_exe().unwrap();
        let words = [through, &[this.to_str().unwrap()]].concat();
        let mut child = node
            .command(words[0])
            .unwrap()
            .args(&words[1..])
            .args(["--exact", "--ignored", "--nocapture", "program::answer_questions"])
            .env("FILE", file)
            .stdin(Stdio::piped())
            .stdout(Stdio::piped())
            .spawn()
            .unwrap();
        let questions = child.stdin.take().unwrap();
        let lines = BufReader::new(child.stdout.take().unwrap()).lines();
        let (send, answers) = channel();
        thread::spawn(move || {
            for line in lines.map_while(Result::ok) {
                if let Some(answer) = line.strip_prefix(MARK) {
                    let _ = send.send(answer.to_owned());
                }
            }
        });
        let mut program = Program { child, questions, answers, pid: String::new() };
        program.pid = program.ask("pid");
        program
    }

    /// Asks and waits for the answer.
    pub fn ask(&mut self, question: &str) -> String {
        self.tell(question);
        self.answer(LIMIT).unwrap_or_else(|| panic!("no answer to {question:?}"))
    }

    /// Asks without waiting.
    pub fn tell(&mut self, question: &str) {
        writeln!(self.questions, "{question}").unwrap();
    }

    /// The answer, if it comes in time.
    pub fn answer(&self, limit: Duration) -> Option<String> {
        self.answers.recv_timeout(limit).ok()
    }
}

impl Drop for Program {
    fn drop(&mut self) {
        // Only the process that started it; it sees the end of its questions.
        let _ = self.child.kill();
        let _ = self.child.wait();
    }
}

/// Not a test: the program.
#[test]
#[ignore = "started by the other test"]
fn answer_questions() {
    let Ok(path) = env::var("FILE") else { return };
    // The node may have been cut off before: its client comes back by itself.
    let mut file = wait::until("the file", LIMIT, || match open(&path) {
        Err(error) if error.kind() == io::ErrorKind::NotConnected => Ok(None),
        other => Ok(Some(other?)),
    })
    .unwrap();
    for question in stdin().lines().map_while(Result::ok) {
        let answer = reply(&question, &mut file, &path).unwrap_or_else(|error| {
            format!("{:?}", Errno::from_raw(error.raw_os_error().unwrap_or_default()))
        });
        // The harness may be in the middle of a line of its own.
        print!("\n{MARK}{answer}\n");
        io::stdout().flush().unwrap();
    }
}

fn reply(question: &str, file: &mut File, path: &str) -> io::Result<String> {
    let (word, rest) = question.split_once(' ').unwrap_or((question, ""));
    Ok(match word {
        "pid" => process::id().to_string(),
        "open" => {
            *file = open(path)?;
            "done".to_owned()
        }
        "lock" => set(file, libc::F_WRLCK)?,
        "unlock" => set(file, libc::F_UNLCK)?,
        "holder" => holder(file)?,
        "write" => {
            file.write_all_at(rest.as_bytes(), 0)?;
            "done".to_owned()
        }
        "flush" => {
            file.sync_all()?;
            "done".to_owned()
        }
        "read" => {
            let mut text = String::new();
            open(path)?.read_to_string(&mut text)?;
            text
        }
        "look" => {
            let data = file.metadata()?;
            format!("inode {} at {}.{}", data.ino(), data.mtime(), data.mtime_nsec())
        }
        "shown" => {
            let info = fs::read_to_string(format!("/proc/self/fdinfo/{}", file.as_raw_fd()))?;
            let inode = format!(":{} ", file.metadata()?.ino());
            let table = fs::read_to_string("/proc/locks")?;
            format!("{} {}", info.contains("lock:"), table.contains(&inode))
        }
        _ => panic!("an unknown question: {question:?}"),
    })
}

fn open(path: &str) -> io::Result<File> {
    OpenOptions::new().read(true).write(true).create(true).truncate(false).open(path)
}

fn whole_file(kind: i32) -> libc::flock {
    let (l_type, l_whence) = (i16::try_from(kind).unwrap(), i16::try_from(libc::SEEK_SET).unwrap());
    libc::flock { l_type, l_whence, l_start: 0, l_len: 0, l_pid: 0 }
}

fn set(file: &File, kind: i32) -> io::Result<String> {
    fcntl(file, FcntlArg::F_SETLK(&whole_file(kind)))?;
    Ok("done".to_owned())
}

/// `free`, or the process number that the holder is said to have.
fn holder(file: &File) -> io::Result<String> {
    let mut lock = whole_file(libc::F_WRLCK);
    fcntl(file, FcntlArg::F_GETLK(&mut lock))?;
    let free = i32::from(lock.l_type) == libc::F_UNLCK;
    Ok(if free { "free".to_owned() } else { lock.l_pid.to_string() })
}
