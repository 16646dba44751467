//! Runs pgbench, which is part of the server package.

use std::{fs, path::PathBuf, time::Duration};

use anyhow::{Context, Result, ensure};
use haven_testkit::{
    database::Database,
    installation::Installation,
    process::{OnDeath, command},
};
use tempfile::TempDir;

use super::{
    CONNECTIONS,
    cpu::Meter,
    statement::{LOGIN, Trips},
    turn::Turn,
};

/// The number of threads of pgbench.
const THREADS: u32 = 2;

/// A pgbench script for one database, with the login of a service.
pub(crate) struct Pgbench {
    program: PathBuf,
    environment: Vec<(&'static str, String)>,
    directory: TempDir,
}

impl Pgbench {
    /// Stores `script` for `database`. The variable `prepared` is 0 at the start of a connection.
    pub(crate) fn new(database: &Database, script: &str) -> Result<Self> {
        let installation = Installation::find().context("Postgres was not found")?;
        let directory = tempfile::tempdir()?;
        fs::write(directory.path().join("script.sql"), script)?;
        Ok(Self {
            program: installation.bin.join("pgbench"),
            environment: database.libpq(LOGIN),
            directory,
        })
    }

    /// Returns the name of the script in results.
    pub(crate) fn name(trips: Trips) -> &'static str {
        match trips {
            Trips::One => "pgbench, one trip",
            Trips::Three => "pgbench, three trips",
        }
    }

    /// Runs the script for the duration `turn`, with additional variables in the form `name=value`.
    pub(crate) fn run(&self, meter: &Meter, turn: Duration, variables: &[String]) -> Result<Turn> {
        // Only the simple protocol sends several statements at once, as the service does to begin a transaction. The
        // statement of EXECUTE is prepared nevertheless.
        let mut pgbench = command(&self.program, None, OnDeath::Kill);
        pgbench
            .args([
                "--no-vacuum",
                "--protocol=simple",
                "--define=prepared=0",
                "--file=script.sql",
            ])
            .args(variables.iter().map(|variable| format!("--define={variable}")))
            .args([
                format!("--client={CONNECTIONS}"),
                format!("--jobs={THREADS}"),
                format!("--time={}", turn.as_secs().max(1)),
            ])
            .current_dir(self.directory.path())
            .envs(self.environment.iter().cloned())
            .env("LC_ALL", "C");
        let before = meter.read()?;
        let output = pgbench.output().context("starting pgbench")?;
        let cpu = meter.read()? - before;
        let (stdout, stderr) = (
            String::from_utf8_lossy(&output.stdout),
            String::from_utf8_lossy(&output.stderr),
        );
        ensure!(output.status.success(), "pgbench: {}\n{stderr}", output.status);
        let number = |prefix: &str| {
            let line = stdout.lines().find_map(|line| line.strip_prefix(prefix));
            let number = line.and_then(|rest| rest.split_whitespace().next());
            number.with_context(|| format!("pgbench did not print {prefix}:\n{stdout}\n{stderr}"))
        };
        let rate: f64 = number("tps = ")?.parse().context("the rate of pgbench")?;
        let work: u64 = number("number of transactions actually processed: ")?
            .parse()
            .context("the number of transactions of pgbench")?;
        ensure!(work > 0, "pgbench ran no transactions:\n{stdout}\n{stderr}");
        Ok(Turn {
            work,
            seconds: work as f64 / rate,
            cpu,
            durations: Vec::new(),
        })
    }
}
