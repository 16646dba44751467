//! `identity audit verify`: whether every person's audit log is whole.

use std::{
    io::{self, Write},
    sync::Arc,
};

use clap::{Args, Subcommand};
use haven_platform::{
    application::{Application, CommandError},
    config::{ConfigProblems, WorkerArgs},
    database::{Database, DbError},
};
use thiserror::Error;
use uuid::Uuid;

use crate::{
    Identity,
    domain::audit_chain::{Break, ChainEnds, ChainWalk, Flaw, HeadsDigest, Hex},
    store::audit_chain::{AuditChains, ChainRow},
};

/// What can be done with the audit log.
#[derive(Args, Debug)]
pub struct AuditArgs {
    #[command(subcommand)]
    command: AuditCommand,
}

#[derive(Debug, Subcommand)]
enum AuditCommand {
    /// Check every person's chain of events, and name the first broken link of each that does not hold
    #[command(after_help = AFTER_HELP)]
    Verify(WorkerArgs),
}

const AFTER_HELP: &str = "\
Reads all of the security audit log as the service, page by page, while the service may go on running, and changes \
nothing. Each event's SHA-256 digest is computed again, from the event and the digest of the one before: from where \
retention has trimmed the chain, to its newest event. For each chain that does not hold, a line on standard output has \
the person's id, the number of the first event that was changed, taken out or put in, and what is wrong with it.

The last line is one digest over the ends of all chains. Whoever may write everything in the database can compute a whole \
chain anew: keep this line elsewhere, beside a backup for instance. The same log gives the same line, on a restored copy \
too; any other log gives another, also one that has only grown.

Exit codes: 0 every chain holds, 1 one does not, or the log cannot be read, 64 the configuration is wrong.";

/// Why nothing can be said about all chains.
#[derive(Debug, Error)]
enum VerifyError {
    #[error("the audit log cannot be read: {0}")]
    Database(#[from] DbError),
    #[error("the report cannot be written: {0}")]
    Output(#[from] io::Error),
}

/// What was found so far, and the chain that is being looked at.
#[derive(Debug, Default)]
struct Verification {
    walk: Option<ChainWalk>,
    chains: u64,
    events: u64,
    broken: u64,
    heads: HeadsDigest,
}

/// Does what `args` say.
///
/// # Errors
///
/// When the configuration is wrong, the database cannot be read, or a chain does not hold.
pub(crate) async fn run(args: AuditArgs) -> Result<(), CommandError> {
    let AuditCommand::Verify(args) = args.command;
    let mut problems = ConfigProblems::new();
    let config = args.check(&mut problems, Identity::NAME);
    let config = problems.finish(config)?;
    let newest = Identity::migrations().newest();
    let database = Database::worker_only(&config, newest)
        .await
        .map_err(CommandError::failed)?;
    let chains = AuditChains::new(Arc::new(database));
    let broken = verify(&chains, &mut io::stdout())
        .await
        .map_err(CommandError::failed)?;
    match broken {
        0 => Ok(()),
        _ => Err(CommandError::failed("the audit log has been tampered with")),
    }
}

/// Goes along every chain, in memory that does not grow with them. Answers how many do not hold.
async fn verify(chains: &AuditChains, output: &mut impl Write) -> Result<u64, VerifyError> {
    let mut found = Verification::default();
    let (mut person, mut after) = (Uuid::nil(), 0);
    loop {
        let page = chains.page(person, after).await?;
        let mut rows = page.rows.iter().peekable();
        while let Some(row) = rows.next() {
            let seen = found.take(row);
            (person, after) = (row.person, seen);
            let is_last = rows.peek().map_or(!page.more, |next| next.person != row.person);
            if is_last {
                found.end(&row.ends, output)?;
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
            found.report(person, Break { number, flaw }, output)?;
        }
    }
    let Verification {
        chains,
        events,
        broken,
        heads,
        ..
    } = found;
    writeln!(
        output,
        "{chains} chains, {events} whole events, {broken} broken chains"
    )?;
    writeln!(output, "digest of all ends: {}", Hex(&heads.finish()))?;
    Ok(broken)
}

// === impl Verification ===

impl Verification {
    /// Takes the next row. Answers up to which number its person's events were seen.
    fn take(&mut self, row: &ChainRow) -> i64 {
        let mut walk = match self.walk.take() {
            Some(walk) if walk.person() == row.person => walk,
            // When the page before left off in the middle of a chain which is gone now, its person was erased meanwhile.
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

    /// The chain that was looked at has no more rows.
    fn end(&mut self, ends: &ChainEnds, output: &mut impl Write) -> io::Result<()> {
        let Some(walk) = self.walk.take() else {
            return Ok(());
        };
        self.chains += 1;
        self.events += walk.events();
        self.heads.take(walk.person(), ends);
        match walk.end(ends) {
            None => Ok(()),
            Some(found) => self.report(walk.person(), found, output),
        }
    }

    fn report(&mut self, person: Uuid, found: Break, output: &mut impl Write) -> io::Result<()> {
        self.broken += 1;
        writeln!(output, "{person}: event {}: {}", found.number, found.flaw)
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
    fn a_chain_that_was_erased_between_two_pages_is_left_out() {
        let (mut found, mut said) = (Verification::default(), Vec::new());
        assert_eq!(found.take(&row(1, 5)), 5);
        // The page ended here; on the next one there is only somebody else.
        let next = row(2, 7);
        assert_eq!(found.take(&next), 7);
        found.end(&next.ends, &mut said).unwrap();
        assert_eq!((found.chains, found.broken), (1, 0));
        assert!(said.is_empty());
    }

    #[test]
    fn what_is_broken_is_named() {
        let (mut found, mut said) = (Verification::default(), Vec::new());
        let mut tampered = row(1, 5);
        tampered.ends.last_digest = vec![2; 32];
        found.take(&tampered);
        found.end(&tampered.ends, &mut said).unwrap();
        assert_eq!((found.chains, found.broken), (1, 1));
        assert_eq!(
            String::from_utf8(said).unwrap(),
            "00000000-0000-0000-0000-000000000001: event 5: it is not the end that is kept beside the chain\n"
        );
    }
}
