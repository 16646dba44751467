//! The subcommand `identity audit verify`, which verifies every person's audit log.

use std::{
    io::{self, Write},
    path::PathBuf,
    sync::Arc,
};

use clap::{Args, Subcommand};
use haven_platform::{
    application::{Application, CommandError},
    config::{ConfigProblems, WorkerArgs},
    database::{
        Database, DbError, InspectionError, WorkerConfig,
        checks::{Finding, Outcome},
    },
    time::Clock,
};
use thiserror::Error;
use uuid::Uuid;

use crate::{
    Identity,
    audit_summary::Summary,
    domain::audit_chain::{Break, ChainEnds, ChainWalk, Flaw, HeadsDigest, Hex},
    store::audit_chain::{AuditChains, ChainRow},
};

/// The arguments of `identity audit`.
#[derive(Args, Debug)]
pub struct AuditArgs {
    #[command(subcommand)]
    command: AuditCommand,
}

#[derive(Debug, Subcommand)]
enum AuditCommand {
    /// Verify every person's chain of events, and report the first broken link of each broken chain
    #[command(after_help = AFTER_HELP)]
    Verify(VerifyArgs),
}

/// The arguments of `identity audit verify`.
#[derive(Args, Debug)]
struct VerifyArgs {
    #[command(flatten)]
    worker: WorkerArgs,
    /// Write the outcome to this file as metrics, for the textfile collector of node_exporter
    #[arg(long, value_name = "FILE")]
    metrics: Option<PathBuf>,
}

const AFTER_HELP: &str = "\
Reads the whole security audit log as the service, page by page, and changes nothing. The service may keep running. Each \
event's SHA-256 digest is computed again, from the event and the digest of the event before it: from the event up to which \
retention has trimmed the chain, to the newest event. For each broken chain, a line on standard output has the person's id, \
the number of the first event that was changed, removed or inserted, and the flaw.

The last line is a digest of the ends of all chains. An attacker with write access to the whole database can recompute a \
chain, so store this line elsewhere, for example with a backup. The same log gives the same line, also in a restored copy; \
any other log gives a different line, also a log that has only grown.

With --metrics, a run that reached the end writes the numbers of chains and of broken chains, and the time. A run that \
failed leaves the file as it is, so that an old time shows that no run has succeeded since.

Exit codes: 0 all chains are intact, 1 a chain is broken or the log cannot be read, 64 the configuration is invalid.";

/// The error when the verification was not completed.
#[derive(Debug, Error)]
enum VerifyError {
    #[error("cannot read the audit log: {0}")]
    Database(#[from] DbError),
    #[error("cannot write the report: {0}")]
    Output(#[from] io::Error),
    #[error("cannot write {0}: {1}")]
    Metrics(String, io::Error),
}

/// The counts so far, and the chain that is being verified.
#[derive(Debug, Default)]
struct Verification {
    walk: Option<ChainWalk>,
    chains: u64,
    events: u64,
    broken: u64,
    heads: HeadsDigest,
}

/// Runs the subcommand.
///
/// # Errors
///
/// When the configuration is invalid, the database cannot be read, or a chain is broken.
pub(crate) async fn run(args: AuditArgs) -> Result<(), CommandError> {
    let AuditCommand::Verify(args) = args.command;
    let mut problems = ConfigProblems::new();
    let config = args.worker.check(&mut problems, Identity::NAME);
    let config = problems.finish(config)?;
    let newest = Identity::migrations().newest();
    let database = Database::worker_only(&config, newest)
        .await
        .map_err(CommandError::failed)?;
    let chains = AuditChains::new(Arc::new(database));
    let summary = verify(&chains, &mut io::stdout())
        .await
        .map_err(CommandError::failed)?;
    if let Some(path) = &args.metrics {
        summary
            .write_metrics(path, Clock::system().now())
            .map_err(|error| CommandError::failed(VerifyError::Metrics(path.display().to_string(), error)))?;
    }
    match summary.broken {
        0 => Ok(()),
        _ => Err(CommandError::failed("the audit log has been tampered with")),
    }
}

/// Returns the finding about all chains, for `check-database`.
pub(crate) async fn finding(config: &WorkerConfig) -> Finding {
    Finding {
        service: Identity::NAME,
        check: "audit-chains",
        title: "every person's chain of security events is whole",
        outcome: outcome(config).await,
        meaning: "A broken chain means that an event was changed, removed or inserted behind the service's back.",
        remedy: "compare with a backup: `identity audit verify` prints the same digest for the same log"
            .to_owned(),
    }
}

async fn outcome(config: &WorkerConfig) -> Outcome {
    let database = match Database::worker_only(config, Identity::migrations().newest()).await {
        Ok(database) => database,
        Err(error @ InspectionError::Refused(_)) => {
            let objects = vec![format!("identity refuses to serve from this database: {error}")];
            return Outcome::Fail { objects };
        }
        Err(error @ InspectionError::Unavailable(_)) => {
            let needs = format!("a database that answers: {error}");
            return Outcome::NotSeen { needs };
        }
    };
    let mut report = Vec::new();
    match verify(&AuditChains::new(Arc::new(database)), &mut report).await {
        Ok(Summary { broken: 0, .. }) => Outcome::Pass,
        Ok(_) => {
            let report = String::from_utf8_lossy(&report);
            // The last two lines are the summary.
            let broken = report.lines().count().saturating_sub(2);
            let objects = report
                .lines()
                .take(broken)
                .map(|line| format!("person {line}"))
                .collect();
            Outcome::Fail { objects }
        }
        Err(error) => Outcome::Fail {
            objects: vec![format!("this could not be checked: {error}")],
        },
    }
}

/// Verifies every chain, with memory that does not grow with their number or length. Returns the
/// numbers of chains.
async fn verify(chains: &AuditChains, output: &mut impl Write) -> Result<Summary, VerifyError> {
    let mut verification = Verification::default();
    let (mut person, mut after) = (Uuid::nil(), 0);
    loop {
        let page = chains.page(person, after).await?;
        let mut rows = page.rows.iter().peekable();
        while let Some(row) = rows.next() {
            let seen = verification.take(row);
            (person, after) = (row.person, seen);
            let is_last = rows.peek().map_or(!page.more, |next| next.person != row.person);
            if is_last {
                verification.end(&row.ends, output)?;
            }
        }
        if !page.more {
            break;
        }
    }
    let mut person = Uuid::nil();
    loop {
        let strays = chains.strays(person).await?;
        let Some(last) = strays.last() else { break };
        person = last.0;
        for (person, number) in strays {
            let flaw = Flaw::NoEnds;
            verification.report(person, Break { number, flaw }, output)?;
        }
    }
    let Verification {
        chains,
        events,
        broken,
        heads,
        ..
    } = verification;
    writeln!(
        output,
        "{chains} chains, {events} whole events, {broken} broken chains"
    )?;
    writeln!(output, "digest of all ends: {}", Hex(&heads.finish()))?;
    Ok(Summary { chains, broken })
}

// === impl Verification ===

impl Verification {
    /// Processes the next row. Returns the number of the last event of its person that was processed.
    fn take(&mut self, row: &ChainRow) -> i64 {
        let mut walk = match self.walk.take() {
            Some(walk) if walk.person() == row.person => walk,
            // When the page before ended within a chain that has no more rows now, its person was erased in the meantime.
            _ => ChainWalk::begin(row.person, &row.ends),
        };
        walk.resume(&row.ends);
        if let Some(event) = &row.event {
            walk.take(&row.ends, event);
        }
        let seen = walk.seen();
        self.walk = Some(walk);
        seen
    }

    /// Ends the current chain, which has no more rows.
    fn end(&mut self, ends: &ChainEnds, output: &mut impl Write) -> io::Result<()> {
        let Some(walk) = self.walk.take() else {
            return Ok(());
        };
        self.chains += 1;
        self.events += walk.events();
        self.heads.take(walk.person(), ends);
        match walk.end(ends) {
            None => Ok(()),
            Some(broken) => self.report(walk.person(), broken, output),
        }
    }

    fn report(&mut self, person: Uuid, link: Break, output: &mut impl Write) -> io::Result<()> {
        self.broken += 1;
        writeln!(output, "{person}: event {}: {}", link.number, link.flaw)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn row(person: u128, last: i64) -> ChainRow {
        let ends = ChainEnds {
            trimmed_number: last,
            trimmed_digest: vec![1; 32],
            last_number: last,
            last_digest: vec![1; 32],
        };
        ChainRow {
            person: Uuid::from_u128(person),
            ends,
            event: None,
        }
    }

    #[test]
    fn a_chain_that_was_erased_between_two_pages_is_skipped() {
        let (mut verification, mut output) = (Verification::default(), Vec::new());
        assert_eq!(verification.take(&row(1, 5)), 5);
        // The page ended here, and the next one has only rows of another person.
        let next = row(2, 7);
        assert_eq!(verification.take(&next), 7);
        verification.end(&next.ends, &mut output).unwrap();
        assert_eq!((verification.chains, verification.broken), (1, 0));
        assert!(output.is_empty());
    }

    #[test]
    fn a_broken_chain_is_reported() {
        let (mut verification, mut output) = (Verification::default(), Vec::new());
        let mut tampered = row(1, 5);
        tampered.ends.last_digest = vec![2; 32];
        verification.take(&tampered);
        verification.end(&tampered.ends, &mut output).unwrap();
        assert_eq!((verification.chains, verification.broken), (1, 1));
        assert_eq!(
            String::from_utf8(output).unwrap(),
            "00000000-0000-0000-0000-000000000001: event 5: it is not the stored end of the chain\n"
        );
    }
}
