//! pgbench, which comes with the server.

use std::{fs, path::PathBuf, time::Duration};

use anyhow::{Context, Result, ensure};
use haven_testkit::{
    database::Database,
    installation::Installation,
    process::{OnDeath, command},
};
use tempfile::TempDir;

use super::{CONNECTIONS, LOGIN};

/// Threads of pgbench's own.
const THREADS: u32 = 2;

/// What a run came to.
pub(crate) struct Ran {
    /// Transactions a second.
    pub(crate) rate: f64,
    /// Transactions in all.
    pub(crate) transactions: u64,
}

/// Runs one script on one database, as the login of the service's requests.
pub(crate) struct Pgbench {
    program: PathBuf,
    environment: Vec<(&'static str, String)>,
    directory: TempDir,
}

impl Pgbench {
    /// Runs `script` on `database`. The variable `prepared` is 0 when a connection begins.
    pub(crate) fn new(database: &Database, script: &str) -> Result<Self> {
        let installation = Installation::find().context("the server is installed: it runs")?;
        let directory = tempfile::tempdir()?;
        fs::write(directory.path().join("script.sql"), script)?;
        Ok(Self {
            program: installation.bin.join("pgbench"),
            environment: database.libpq(LOGIN),
            directory,
        })
    }

    /// Runs it for as long as a `turn`, with more variables that begin so.
    pub(crate) fn run(&self, turn: Duration, variables: &[String]) -> Result<Ran> {
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
            .args(variables.iter().map(|variable| format!("--define={variable}")))
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
        let number = |start: &str| {
            let line = said.lines().find_map(|line| line.strip_prefix(start));
            let number = line.and_then(|rest| rest.split_whitespace().next());
            number.with_context(|| format!("pgbench does not say {start}:\n{said}\n{errors}"))
        };
        let ran = Ran {
            rate: number("tps = ")?.parse().context("pgbench's rate")?,
            transactions: number("number of transactions actually processed: ")?
                .parse()
                .context("pgbench's transactions")?,
        };
        ensure!(ran.transactions > 0, "pgbench did nothing:\n{said}\n{errors}");
        Ok(ran)
    }
}
