//! `make soak`: random faults from a seed. A seed that failed gives the same faults again.

use std::{process::ExitCode, time::Duration};

use anyhow::{Context, Result};
use clap::Parser;
use e2e::{Lab, soak};
use testbed::{Bed, progress};
use tokio::runtime::Runtime;

#[derive(Parser)]
#[command(about = "Random faults over groups on network storage and in a database; needs root")]
struct Options {
    /// How many seconds of faults.
    #[arg(long, default_value_t = 1800)]
    seconds: u64,
    /// What the faults are drawn from; another one each time unless it is given.
    #[arg(long)]
    seed: Option<u64>,
}

fn main() -> ExitCode {
    let options = Options::parse();
    let seed = options.seed.unwrap_or_else(|| fastrand::u64(..1_000_000));
    println!("seed {seed}, {} s of faults", options.seconds);
    match soak(&options, seed) {
        Ok(()) => {
            println!("seed {seed}: nothing lost, one writer at a time, both groups whole");
            ExitCode::SUCCESS
        }
        Err(error) => {
            println!("seed {seed} FAILED: {error:#}");
            println!("again: make soak SEED={seed} SECONDS={}", options.seconds);
            ExitCode::FAILURE
        }
    }
}

/// A bed that was not there before goes again, unless something failed on it.
fn soak(options: &Options, seed: u64) -> Result<()> {
    let name = std::env::var("TANDEM_BED").unwrap_or_else(|_| testbed::DEFAULT_NAME.to_owned());
    let was_there = Bed::open(&name).is_ok();
    let bed = Lab::enter(&name)?;
    let runtime = Runtime::new()?;
    let lab = runtime.block_on(Lab::open(bed)).context("opening the bed")?;
    let lab = lab.with_short_lived_brokers();
    progress::step("installing the chart", || lab.install(&[]))?;
    runtime.block_on(soak::run(&lab, seed, Duration::from_secs(options.seconds)))?;
    if was_there { Ok(()) } else { lab.bed.down() }
}
