//! Audits the security of the database, with both programs' `check-database`.

use std::process::Command;

use anyhow::{Context, Result, bail, ensure};
use clap::Args;
use haven_testkit::{binaries::Binaries, secrets::SUPERUSER};
use serde_json::Value;

use crate::selection;

/// The programs, which have one schema each.
const SERVICES: [&str; 2] = ["identity", "data"];

/// Audit the security of the database of the running installation.
///
/// Runs `identity check-database` and `data check-database` as the services' own logins, and as the superuser where these
/// may not look. What only production needs is a warning. Exits with 1 when a check fails.
#[derive(Args)]
pub(crate) struct Audit {
    /// Print the findings of both programs as one JSON array
    #[arg(long)]
    json: bool,
}

impl Audit {
    /// Runs both programs, also when the first one finds a failure.
    pub(crate) fn run(self) -> Result<()> {
        let database = selection::database()?;
        let binaries = Binaries::build()?;
        let (mut findings, mut failed) = (Vec::new(), Vec::new());
        for service in SERVICES {
            let mut command = Command::new(binaries.of(service));
            command
                .arg("check-database")
                .env_clear()
                .env("ENVIRONMENT", "development")
                .env("WORKER_DATABASE_URL", database.url(&format!("{service}_worker")))
                .env("ADMIN_DATABASE_URL", database.url(SUPERUSER));
            let run = || format!("running {service} check-database");
            let success = if self.json {
                let output = command.arg("--json").output().with_context(run)?;
                ensure!(
                    !output.stdout.is_empty(),
                    String::from_utf8_lossy(&output.stderr).into_owned()
                );
                findings.extend(serde_json::from_slice::<Vec<Value>>(&output.stdout).with_context(run)?);
                output.status.success()
            } else {
                println!("\n  {service}\n");
                command.status().with_context(run)?.success()
            };
            if !success {
                failed.push(service);
            }
        }
        if self.json {
            println!("{}", serde_json::to_string_pretty(&findings)?);
        }
        if !failed.is_empty() {
            bail!("checks failed: {}", failed.join(", "));
        }
        Ok(())
    }
}
