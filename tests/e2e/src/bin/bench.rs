//! `make bench`: how long clients are cut off when a master fails, with Tandem and without it, and
//! what Tandem costs. It never fails for a time, only for lost messages or a fault that could not
//! be placed.

use std::path::{Path, PathBuf};

use anyhow::{Context, Result, ensure};
use clap::{Parser, builder::PossibleValuesParser};
use e2e::{
    Lab,
    bench::{
        Counts, baseline, chart, classic, cost,
        figures::{self, Run},
        table,
    },
};
use testbed::{Bed, progress};
use tokio::runtime::Runtime;

#[derive(Parser)]
#[command(about = "Measures failover, baselines and footprint on the test bed; needs root")]
struct Options {
    /// SIGKILLs of a master of Tandem's.
    #[arg(long, default_value_t = 20)]
    kills: usize,
    /// Polite deletions of a master's pod.
    #[arg(long, default_value_t = 5)]
    deletions: usize,
    /// Masters frozen by SIGSTOP.
    #[arg(long, default_value_t = 3)]
    stops: usize,
    /// Switchovers of Tandem's.
    #[arg(long, default_value_t = 20)]
    switchovers: usize,
    /// SIGKILLs of a hand-made pair's master.
    #[arg(long, default_value_t = 8)]
    stock: usize,
    /// Single brokers killed, each twice.
    #[arg(long, default_value_t = 5)]
    single: usize,
    /// Groups of brokers for the footprint.
    #[arg(long, default_value_t = 10)]
    clusters: usize,
    /// Only this group.
    #[arg(long, value_parser = PossibleValuesParser::new(groups().chain([cost::GROUP])))]
    only: Option<String>,
    /// Where the results go.
    #[arg(long, default_value = "target/bench")]
    out: PathBuf,
    /// The bed.
    #[arg(long, default_value = testbed::DEFAULT_NAME)]
    bed: String,
    /// Leave the bed up. One that was up before always stays.
    #[arg(long)]
    keep: bool,
}

fn main() -> Result<()> {
    let options = Options::parse();
    let was_there = Bed::open(&options.bed).is_ok();
    if was_there {
        let bed = &options.bed;
        progress::note(&format!("bed {bed} is there already: what runs on it slows the brokers"));
    }
    let bed = Lab::enter(&options.bed)?;
    let result = on(bed, &options);
    if !was_there && !options.keep {
        Bed::remove(&options.bed)?;
    }
    result
}

fn on(bed: Bed, options: &Options) -> Result<()> {
    let runtime = Runtime::new()?;
    let lab = runtime.block_on(Lab::open(bed))?;
    progress::step("installing the chart", || lab.install(&[]))?;
    std::fs::create_dir_all(&options.out).context("the directory for the results")?;
    let runs = runtime.block_on(failover(&lab, options))?;
    if wanted(options, cost::GROUP) {
        let figures = runtime.block_on(cost::measure(&lab, options.clusters))?;
        write(&options.out, "footprint.json", &pretty(&figures)?)?;
        println!("\n{}", cost::text(&figures));
    }
    let lost: i64 = runs.iter().map(|run| run.account.lost).sum();
    ensure!(lost == 0, "{lost} messages lost");
    Ok(())
}

/// Measures one group after the other, each alone, and writes what there is after each.
async fn failover(lab: &Lab, options: &Options) -> Result<Vec<Run>> {
    let counts = Counts {
        kills: options.kills,
        deletions: options.deletions,
        stops: options.stops,
        switchovers: options.switchovers,
        stock: options.stock,
        single: options.single,
    };
    let mut runs = Vec::new();
    for group in groups() {
        if !wanted(options, group) {
            continue;
        }
        let series = match group {
            baseline::STOCK => baseline::stock_pair(lab, counts).await?,
            baseline::STOCK_LEASE => baseline::stock_lease(lab, counts).await?,
            baseline::SINGLE => baseline::single(lab, counts).await?,
            _ => classic::measure(lab, group, counts).await?,
        };
        runs.extend(series.iter().flat_map(figures::Series::runs));
        write(&options.out, "failover.json", &pretty(&figures::json(&runs))?)?;
        write(&options.out, "failover.svg", &chart::failover(&runs))?;
    }
    if !runs.is_empty() {
        println!("\n{}", table::failover(&runs));
        println!("{0}/failover.json, {0}/failover.svg", options.out.display());
    }
    Ok(runs)
}

/// All groups whose failover is measured, in this order.
fn groups() -> impl Iterator<Item = &'static str> {
    let baselines = [baseline::STOCK, baseline::STOCK_LEASE, baseline::SINGLE];
    classic::GROUPS.into_iter().chain(baselines)
}

fn wanted(options: &Options, group: &str) -> bool {
    options.only.as_deref().is_none_or(|only| only == group)
}

fn pretty(figures: &serde_json::Value) -> Result<String> {
    Ok(serde_json::to_string_pretty(figures)? + "\n")
}

fn write(directory: &Path, name: &str, text: &str) -> Result<()> {
    let path = directory.join(name);
    std::fs::write(&path, text).with_context(|| path.display().to_string())
}
