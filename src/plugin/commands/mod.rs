//! One file per command or kind of command.

mod complete;
mod edit;
mod lock;
mod logs;
mod report;
mod status;
mod version;
mod wait;

use super::{
    args::{Cli, Command, Operation},
    gather::{Session, connect::connect},
    screen::Screen,
};

/// Runs one command.
///
/// # Errors
/// Why it did not work, and what to do, in sentences.
pub async fn run(cli: Cli, screen: &mut Screen) -> anyhow::Result<()> {
    match cli.command {
        Command::Completion(args) => complete::script(args.shell, screen),
        Command::Complete(args) => complete::candidates(&cli.connection, &args.words, screen).await,
        Command::Ask(operation) => {
            let session = connect(&cli.connection).await?;
            execute(&session, operation, screen).await
        }
    }
}

/// Runs one command that asks the API server.
///
/// # Errors
/// Why it did not work, and what to do, in sentences.
pub async fn execute(
    session: &Session,
    operation: Operation,
    screen: &mut Screen,
) -> anyhow::Result<()> {
    let editor = edit::Editor { session, screen };
    match operation {
        Operation::Switchover(args) => editor.switchover(&args).await,
        Operation::Fence(args) => editor.fence(&args).await,
        Operation::Unfence(args) => editor.unfence(&args).await,
        Operation::Pause(args) => editor.pause(&args, true).await,
        Operation::Resume(args) => editor.pause(&args, false).await,
        Operation::Hibernate(args) => editor.hibernate(&args).await,
        Operation::Wake(args) => editor.wake(&args).await,
        Operation::Restart(args) => editor.restart(&args).await,
        Operation::Status(args) => status::run(session, &args, editor.screen).await,
        Operation::Lock(args) => lock::run(session, args.name.as_deref(), editor.screen).await,
        Operation::Logs(args) => logs::run(session, &args, editor.screen).await,
        Operation::Report(args) => report::run(session, &args, editor.screen).await,
        Operation::Version(args) => version::run(session, &args, editor.screen).await,
    }
}
