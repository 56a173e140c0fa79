//! Process 1 of a lab's machine, and the programs in it.

mod actor;
mod broker;
mod init;
mod serve;

use std::process::ExitCode;

fn main() -> ExitCode {
    let done = match std::env::args().nth(1).as_deref() {
        None if std::process::id() == 1 => init::run().and_then(|()| serve::run()),
        Some("actor") => actor::run(),
        Some("broker") => broker::run(),
        _ => Err(anyhow::anyhow!("this is for the machines of the NFS lab")),
    };
    match done {
        Ok(()) => ExitCode::SUCCESS,
        Err(error) => {
            eprintln!("nfslab-guest: {error:#}");
            ExitCode::FAILURE
        }
    }
}
