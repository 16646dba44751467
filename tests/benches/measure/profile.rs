//! The profile of the services: `perf` samples them while callers keep them busy.

use std::{
    process::{Command, Stdio},
    time::Duration,
};

use anyhow::{Context, Result, bail, ensure};
use futures_util::future::BoxFuture;

use super::{
    cpu::Meter,
    symbols::{Sample, shares},
    turn::Turn,
};

/// The samples per second of CPU time.
const FREQUENCY: &str = "997";

/// The number of functions that are printed.
const TOP: usize = 15;

/// Takes a turn with `run`, and prints where the CPU time of the services goes.
///
/// Without `perf`, prints what is missing. A clock is sampled and not a counter of the processor, which a virtual machine may
/// not have.
pub(crate) async fn profile<'a>(
    name: &str,
    meter: &Meter,
    turn: Duration,
    mut run: impl FnMut(Duration) -> BoxFuture<'a, Result<Turn>>,
) -> Result<()> {
    if !is_installed() {
        println!(
            "{name}: the program `perf` is missing (package linux-perf of Debian, linux-tools-generic of Ubuntu), so that \
             there is no profile"
        );
        return Ok(());
    }
    run(turn / 2).await?;
    let directory = tempfile::tempdir()?;
    let file = directory.path().join("perf.data");
    let pids: Vec<String> = meter.services().iter().map(u32::to_string).collect();
    let recording = Command::new("perf")
        .args(["record", "--event=cpu-clock", "--freq", FREQUENCY, "--output"])
        .arg(&file)
        .args(["--pid", &pids.join(","), "--", "sleep"])
        .arg(turn.as_secs().to_string())
        .stdout(Stdio::null())
        .stderr(Stdio::piped())
        .spawn()
        .context("starting perf")?;
    run(turn).await?;
    let output = recording.wait_with_output()?;
    if !output.status.success() {
        bail!(
            "perf record: {} (does kernel.perf_event_paranoid allow it?)",
            String::from_utf8_lossy(&output.stderr)
        );
    }
    let report = Command::new("perf")
        .args([
            "report",
            "--stdio",
            "--no-children",
            "--percent-limit=0",
            "--field-separator=|",
        ])
        .args(["--sort=dso,symbol", "--input"])
        .arg(&file)
        .output()
        .context("starting perf")?;
    let samples = parse(&String::from_utf8_lossy(&report.stdout));
    ensure!(
        !samples.is_empty(),
        "perf reported no samples: {}",
        String::from_utf8_lossy(&report.stderr)
    );
    print(name, &samples);
    Ok(())
}

fn is_installed() -> bool {
    let version = Command::new("perf")
        .arg("version")
        .stdout(Stdio::null())
        .stderr(Stdio::null())
        .status();
    version.is_ok_and(|status| status.success())
}

/// Reads lines such as `  3.52%  |data  |[.] h2::proto::poll  |-`.
fn parse(report: &str) -> Vec<Sample> {
    let lines = report.lines().filter(|line| !line.starts_with('#'));
    lines
        .filter_map(|line| {
            let mut fields = line.split('|').map(str::trim);
            let percent = fields.next()?.trim_end_matches('%').parse().ok()?;
            let object = fields.next()?.to_owned();
            let symbol = fields.next()?;
            let symbol = symbol.split_once("] ").map_or(symbol, |(_, symbol)| symbol);
            Some(Sample {
                percent,
                object,
                symbol: symbol.to_owned(),
            })
        })
        .collect()
}

/// Prints the shares of groups, and the first functions.
fn print(name: &str, samples: &[Sample]) {
    println!("{name}: CPU time of the service\n");
    println!("| part | share |\n| --- | --- |");
    for (group, percent) in shares(samples) {
        println!("| {group} | {percent:.1}% |");
    }
    println!("\n| function | share |\n| --- | --- |");
    for sample in samples.iter().take(TOP) {
        println!(
            "| `{}` in {} | {:.1}% |",
            sample.symbol, sample.object, sample.percent
        );
    }
    println!();
}
