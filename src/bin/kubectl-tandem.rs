//! The `kubectl tandem` plugin: kubectl runs a program of this name.

use std::process::ExitCode;

fn main() -> ExitCode {
    tandem::plugin::main()
}
