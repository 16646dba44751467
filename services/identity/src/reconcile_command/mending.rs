//! What is done about the people who differ: they are listed, counted or mended.

use std::io::{self, Write};

use chrono::{DateTime, Utc};
use haven_platform::{call::UserId, database::DbError, entropy::Entropy, time::Clock};
use thiserror::Error;
use uuid::Uuid;

use super::{
    comparison::{Compared, ComparisonError, Findings},
    data_people::{DataError, DataPeople},
    report::{Counts, Progress, print_person},
};
use crate::{
    dispatcher::Dispatcher,
    domain::reconciliation::{Difference, HereState},
    store::reconciliation::Reconciliation,
};

/// The reason why the people who differ were not all mended. The command can be started again.
#[derive(Debug, Error)]
pub(super) enum MendingError {
    /// The comparison failed.
    #[error(transparent)]
    Comparison(#[from] ComparisonError),
    /// The report cannot be written.
    #[error("cannot write the report: {0}")]
    Output(#[from] io::Error),
}

impl From<DbError> for MendingError {
    fn from(error: DbError) -> Self {
        Self::Comparison(error.into())
    }
}

impl From<DataError> for MendingError {
    fn from(error: DataError) -> Self {
        Self::Comparison(error.into())
    }
}

/// Counts the people who differ, and lists them when there is an output.
#[derive(Debug)]
pub(super) struct Listing<W> {
    pub(super) counts: Counts,
    pub(super) progress: Progress,
    pub(super) output: Option<W>,
}

impl<W: Write> Findings for Listing<W> {
    type Error = MendingError;

    async fn take(&mut self, found: &[(Uuid, Difference)]) -> Result<(), MendingError> {
        for (person, difference) in found {
            self.counts.add(*difference);
            if let Some(output) = &mut self.output {
                print_person(output, *person, *difference)?;
            }
        }
        Ok(())
    }

    fn progress(&mut self, compared: &Compared) -> Result<(), MendingError> {
        Ok(self.progress.print(compared.here)?)
    }
}

/// Mends the people who differ, and lists them.
#[derive(Debug)]
pub(super) struct Mending<'a, W> {
    pub(super) here: &'a Reconciliation,
    pub(super) there: &'a DataPeople,
    pub(super) dispatcher: &'a Dispatcher,
    pub(super) clock: &'a Clock,
    pub(super) entropy: &'a Entropy,
    /// The time before which an orphan must have been locked to be erased. `None` when no orphan is erased.
    pub(super) erased_before: Option<DateTime<Utc>>,
    pub(super) progress: Progress,
    pub(super) output: W,
}

impl<W: Write> Findings for Mending<'_, W> {
    type Error = MendingError;

    async fn take(&mut self, found: &[(Uuid, Difference)]) -> Result<(), MendingError> {
        let mut orphans = Vec::new();
        for (person, difference) in found {
            print_person(&mut self.output, *person, *difference)?;
            match *difference {
                Difference::Provision | Difference::Unlock => self.provision(*person).await?,
                Difference::EraseInData { at }
                | Difference::EraseAccount { at }
                | Difference::KeepReceipt { at } => self.erase(*person, at).await?,
                Difference::LockOrphan => {
                    let request_id = self.entropy.uuid_v7(self.clock);
                    self.there.lock(*person, request_id).await?;
                    orphans.push(*person);
                }
                Difference::LockedOrphan(since) => {
                    if self.erased_before.is_some_and(|before| since < before) {
                        writeln!(self.output, "{:<14}{person}  is an orphan", "erase")?;
                        self.erase(*person, self.clock.now()).await?;
                    }
                }
            }
        }
        self.unlock_accounts(&orphans).await?;
        // What is written is delivered at once, so that the outbox stays short. What fails is due again later.
        self.dispatcher.deliver_all().await?;
        Ok(())
    }

    fn progress(&mut self, compared: &Compared) -> Result<(), MendingError> {
        Ok(self.progress.print(compared.here)?)
    }
}

impl<W> Mending<'_, W> {
    async fn provision(&self, person: Uuid) -> Result<(), MendingError> {
        let message = self.entropy.uuid_v7(self.clock);
        self.here
            .provision_again(UserId::new(person), message, self.clock.now())
            .await?;
        Ok(())
    }

    async fn erase(&self, person: Uuid, erased_at: DateTime<Utc>) -> Result<(), MendingError> {
        let message = self.entropy.uuid_v7(self.clock);
        self.here
            .erase_again(UserId::new(person), message, erased_at, self.clock.now())
            .await?;
        Ok(())
    }

    /// Unlocks those of `orphans` who have an account by now: another provider's token can create one at any moment.
    async fn unlock_accounts(&self, orphans: &[Uuid]) -> Result<(), MendingError> {
        if orphans.is_empty() {
            return Ok(());
        }
        for here in self.here.find(orphans).await? {
            if here.state == HereState::Account {
                self.provision(here.id).await?;
            }
        }
        Ok(())
    }
}
