//! The replay of journals of erasures: everyone in them is erased again, with the database of this service alone.

use std::{
    io::{self, Write},
    path::PathBuf,
};

use chrono::{DateTime, Utc};
use haven_platform::{call::UserId, database::DbError, entropy::Entropy, time::Clock};
use thiserror::Error;

use super::report::{Number, Progress};
use crate::{
    domain::reconciliation::HereState,
    erasure_journal::{JournalReader, ReadError, Record},
    store::reconciliation::{PAGE_SIZE, Reconciliation},
};

/// The replay of some journals.
#[derive(Debug)]
pub(super) struct Replay<'a> {
    pub(super) journals: &'a [PathBuf],
    pub(super) here: &'a Reconciliation,
    pub(super) clock: &'a Clock,
    pub(super) entropy: &'a Entropy,
    /// True when people are erased, and not only listed.
    pub(super) applies: bool,
}

/// The reason why the replay was not completed. It can be started again.
#[derive(Debug, Error)]
pub(super) enum ReplayError {
    /// A journal cannot be read. Nothing was changed.
    #[error("{0}; nothing was changed")]
    Journal(#[from] ReadError),
    /// The database failed.
    #[error(transparent)]
    Database(#[from] DbError),
    /// The report cannot be written.
    #[error("cannot write the report: {0}")]
    Output(#[from] io::Error),
}

impl Replay<'_> {
    /// Erases everyone in the journals whose erasure is not complete here, and prints them. Returns their number. All journals
    /// are read to their end before anyone is erased.
    pub(super) async fn run(&self, output: &mut impl Write) -> Result<u64, ReplayError> {
        let mut records = 0;
        for path in self.journals {
            for record in JournalReader::open(path)? {
                record?;
                records += 1;
            }
        }
        let mut progress = Progress::new("replaying erasures", records);
        let (mut done, mut erased) = (0, 0);
        for path in self.journals {
            let mut reader = JournalReader::open(path)?;
            loop {
                let batch: Vec<Record> = reader
                    .by_ref()
                    .take(PAGE_SIZE as usize)
                    .collect::<Result<_, _>>()?;
                if batch.is_empty() {
                    break;
                }
                erased += self.replay(&batch, output).await?;
                done += batch.len() as u64;
                progress.print(done)?;
            }
        }
        writeln!(
            output,
            "{} erasures in the journals, {} of them {}",
            Number(records),
            Number(erased),
            if self.applies {
                "made again"
            } else {
                "to make again"
            }
        )?;
        Ok(erased)
    }

    async fn replay(&self, batch: &[Record], output: &mut impl Write) -> Result<u64, ReplayError> {
        let ids: Vec<_> = batch.iter().map(|record| *record.user_id.as_uuid()).collect();
        let found = self.here.find(&ids).await?;
        let mut settled: Vec<_> = found
            .iter()
            .filter(|here| match here.state {
                HereState::Erased { is_complete, .. } => is_complete || here.is_waiting,
                HereState::Account => false,
            })
            .map(|here| here.id)
            .collect();
        let mut erased = 0;
        for record in batch {
            let id = *record.user_id.as_uuid();
            if settled.contains(&id) {
                continue;
            }
            // A line may be there twice.
            settled.push(id);
            writeln!(
                output,
                "{:<14}{id}  is in the journal, and the erasure is not complete",
                "erase"
            )?;
            if self.applies {
                self.erase(record.user_id, record.completed_at).await?;
            }
            erased += 1;
        }
        Ok(erased)
    }

    async fn erase(&self, person: UserId, erased_at: DateTime<Utc>) -> Result<(), DbError> {
        let message = self.entropy.uuid_v7(self.clock);
        self.here
            .erase_again(person, message, erased_at, self.clock.now())
            .await
    }
}
