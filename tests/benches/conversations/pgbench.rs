//! pgbench, which comes with the server.

use std::{fs, path::PathBuf, time::Duration};

use anyhow::{Context, Result, ensure};
use haven_testkit::{
    installation::Installation,
    process::{OnDeath, command},
};
use tempfile::TempDir;

use super::{
    CONNECTIONS,
    transaction::{LOGIN, Transaction},
    world::{World, messages},
};

/// Threads of pgbench's own.
const THREADS: u32 = 2;

/// Runs one transaction on the database of one world, each time of any one of the others.
pub(crate) struct Pgbench {
    program: PathBuf,
    environment: Vec<(&'static str, String)>,
    directory: TempDir,
}

impl Pgbench {
    pub(crate) fn new(world: &World, transaction: &Transaction) -> Result<Self> {
        let installation = Installation::find().context("the server is installed: it runs")?;
        let directory = tempfile::tempdir()?;
        let (people, messages) = (world.others(), messages());
        let script = format!(
            "\\set person random({}, {})\n\\set message random({}, {})\n{}",
            people.start(),
            people.end(),
            messages.start(),
            messages.end(),
            transaction.script()
        );
        fs::write(directory.path().join("script.sql"), script)?;
        Ok(Self {
            program: installation.bin.join("pgbench"),
            environment: world.stack.database.libpq(LOGIN),
            directory,
        })
    }

    /// Transactions a second.
    pub(crate) fn run(&self, turn: Duration) -> Result<f64> {
        // Simple, since no other protocol sends several statements at once, as the service does to begin. What EXECUTE
        // runs is prepared all the same.
        let mut pgbench = command(&self.program, None, OnDeath::Kill);
        pgbench
            .args([
                "--no-vacuum",
                "--protocol=simple",
                "--define=prepared=0",
                "--file=script.sql",
            ])
            .args([
                format!("--client={CONNECTIONS}"),
                format!("--jobs={THREADS}"),
                format!("--time={}", turn.as_secs().max(1)),
            ])
            .current_dir(self.directory.path())
            .envs(self.environment.iter().cloned())
            .env("LC_ALL", "C");
        let output = pgbench.output().context("starting pgbench")?;
        let (said, errors) = (
            String::from_utf8_lossy(&output.stdout),
            String::from_utf8_lossy(&output.stderr),
        );
        ensure!(output.status.success(), "pgbench: {}\n{errors}", output.status);
        let rate = said.lines().find_map(|line| line.strip_prefix("tps = "));
        let rate = rate.and_then(|rate| rate.split(' ').next());
        rate.with_context(|| format!("pgbench says no rate:\n{said}\n{errors}"))?
            .parse()
            .context("pgbench's rate")
    }
}
