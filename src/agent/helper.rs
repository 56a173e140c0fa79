//! The agent's side of the helper process.
//!
//! At most one question is outstanding. A helper that hangs is neither killed nor replaced: a
//! process in uninterruptible sleep cannot be killed, and a second one would only hang beside it.

use std::ffi::OsString;
use std::process::Stdio;

use anyhow::{Context as _, bail};
use tokio::io::{AsyncBufReadExt as _, AsyncWriteExt as _, BufReader};
use tokio::process::{Child, ChildStdin, ChildStdout, Command};
use tokio::sync::{mpsc, oneshot};

use crate::agent::probe::{Answer, ProbeArgs, Question};
use crate::agent::reap::Kept;
use crate::broker::report::LockView;
use crate::lock::Observation;
use crate::lock::members::{BeatFailure, Beaten};

/// Questions wait here while the helper hangs; whoever asks has a deadline of its own.
const WAITING_QUESTIONS: usize = 4;

/// Asks the helper process. Cheap to clone.
#[derive(Clone, Debug)]
pub struct Helper {
    questions: mpsc::Sender<(Question, oneshot::Sender<Answer>)>,
}

impl Helper {
    /// Starts the task that keeps the helper process. The process is started with the first
    /// question, and again after it ended.
    pub fn start(args: ProbeArgs, kept: Kept) -> Self {
        let (questions, queue) = mpsc::channel(WAITING_QUESTIONS);
        tokio::spawn(serve(args, kept, queue));
        Self { questions }
    }

    /// For tests: every question fails at once.
    #[cfg(test)]
    pub fn absent() -> Self {
        Self { questions: mpsc::channel(1).0 }
    }

    /// Who holds the lock. Takes as long as the storage does: the caller sets the deadline.
    pub async fn look(&self, child: Option<i32>) -> Observation {
        match self.ask(Question::Look(child)).await {
            Ok(Answer::Looked(observation)) => observation,
            Ok(answer) => unknown(format!("the helper process answered {answer:?}")),
            Err(error) => unknown(format!("{error:#}")),
        }
    }

    /// The epoch floor.
    pub async fn floor(&self) -> anyhow::Result<u64> {
        floor(self.ask(Question::ReadFloor).await?)
    }

    /// Raises the epoch floor.
    pub async fn raise_floor(&self, epoch: u64) -> anyhow::Result<u64> {
        floor(self.ask(Question::RaiseFloor(epoch)).await?)
    }

    /// Beats once on the volume. Takes as long as the storage does.
    pub async fn beat(&self) -> anyhow::Result<Result<Box<Beaten>, BeatFailure>> {
        match self.ask(Question::Beat).await? {
            Answer::Beaten(outcome) => Ok(outcome),
            Answer::Failed(error) => bail!("{error}"),
            Answer::Looked(_) | Answer::Floor(_) => {
                bail!("the helper process answered another question")
            }
        }
    }

    async fn ask(&self, question: Question) -> anyhow::Result<Answer> {
        let (reply, answer) = oneshot::channel();
        self.questions.send((question, reply)).await.ok().context("the helper task has ended")?;
        answer.await.context("the helper process ended before it answered")
    }
}

fn floor(answer: Answer) -> anyhow::Result<u64> {
    match answer {
        Answer::Floor(epoch) => Ok(epoch),
        Answer::Failed(error) => bail!("{error}"),
        Answer::Looked(_) | Answer::Beaten(_) => {
            bail!("the helper process answered another question")
        }
    }
}

fn unknown(error: String) -> Observation {
    Observation { view: LockView::Unknown, file: None, local: false, error: Some(error) }
}

async fn serve(
    args: ProbeArgs,
    kept: Kept,
    mut queue: mpsc::Receiver<(Question, oneshot::Sender<Answer>)>,
) {
    let mut process = None;
    while let Some((question, reply)) = queue.recv().await {
        // Whoever asked has given up, probably while the helper hung.
        if reply.is_closed() {
            continue;
        }
        match exchange(&mut process, &args, &kept, question).await {
            Ok(answer) => drop(reply.send(answer)),
            Err(error) => {
                tracing::warn!("helper process: {error:#}");
                if let Some(Process { mut child, .. }) = process.take() {
                    // Of a process that was waited for, tokio no longer tells the number.
                    let id = child.id();
                    drop(child.wait().await);
                    kept.forget(id);
                }
            }
        }
    }
}

struct Process {
    child: Child,
    input: ChildStdin,
    output: BufReader<ChildStdout>,
}

async fn exchange(
    process: &mut Option<Process>,
    args: &ProbeArgs,
    kept: &Kept,
    question: Question,
) -> anyhow::Result<Answer> {
    let process = match process {
        Some(process) => process,
        None => process.insert(launch(args, kept)?),
    };
    let mut text = serde_json::to_vec(&question)?;
    text.push(b'\n');
    process.input.write_all(&text).await?;
    let mut line = String::new();
    if process.output.read_line(&mut line).await? == 0 {
        bail!("it has ended");
    }
    Ok(serde_json::from_str(&line)?)
}

fn arguments(args: &ProbeArgs) -> Vec<OsString> {
    let paths = [
        ("--lock", &args.lock),
        ("--floor", &args.floor),
        ("--members", &args.members),
        ("--store", &args.store),
    ];
    let paths = paths.map(|(name, value)| Some([name.into(), value.as_ref()?.into()]));
    let names = [
        ("--pod", &args.pod),
        ("--uid", &args.uid),
        ("--node", &args.node),
        ("--elector", &args.elector),
    ];
    let names = names.map(|(name, value)| Some([name.into(), value.as_ref()?.into()]));
    paths.into_iter().chain(names).flatten().flatten().collect()
}

fn launch(args: &ProbeArgs, kept: &Kept) -> anyhow::Result<Process> {
    let program = std::env::current_exe().context("where the agent's own binary is")?;
    let mut child = Command::new(program)
        .arg("probe")
        .args(arguments(args))
        .env_clear()
        .stdin(Stdio::piped())
        .stdout(Stdio::piped())
        .process_group(0)
        .kill_on_drop(true)
        .spawn()
        .context("cannot start the helper process")?;
    kept.keep(child.id());
    let (Some(input), Some(output)) = (child.stdin.take(), child.stdout.take()) else {
        bail!("the helper process has no pipes");
    };
    Ok(Process { child, input, output: BufReader::new(output) })
}
