//! Key rotation: reseals under the first key every text that is sealed under another key.
//!
//! The service may run meanwhile. A row is read, opened and sealed without a lock, and written only if it still holds
//! the token that was read. A concurrent change of the row therefore wins, and no change is lost. A rotation that is
//! stopped at any moment continues with the remaining rows when it is started again.

use std::{collections::BTreeSet, io, sync::Arc, time::Duration};

use haven_platform::{call::UserId, database::DbError, time::Clock};
use secrecy::ExposeSecret;
use thiserror::Error;
use uuid::Uuid;

use crate::{
    domain::{
        key_ring::{KeyRing, MissingKeys},
        sealing::{Cell, Field, OpenError},
    },
    store::seal::{BATCH_SIZE, Replacements, SealCount, SealedRow, Seals},
};

/// The most passes over all rows. Rows that remain after a pass were being changed, or are new and were sealed by a
/// service that still seals under another key.
const MAX_PASSES: usize = 5;

/// The pause between a pass and the next count. By then concurrent changes are committed, and a service that still
/// seals under another key has most likely sealed a new row.
const PAUSE: Duration = Duration::from_secs(2);

/// A rotation to the first key of a ring.
#[derive(Debug)]
pub struct Rotation {
    seals: Seals,
    keys: Arc<KeyRing>,
    clock: Clock,
    /// The unreadable cells that were reported, so that each is reported once.
    reported: BTreeSet<SealedCell>,
}

/// A sealed field of a person's row.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub struct SealedCell {
    /// The field of the row that is sealed.
    pub field: Field,
    /// The id of the person that the row belongs to.
    pub person: Uuid,
    /// The id of the row, unique among its person's rows.
    pub row: Uuid,
}

/// A progress event of a rotation.
#[derive(Debug)]
pub enum Event {
    /// This many rows are sealed under other keys now.
    Remaining(u64),
    /// This many rows were resealed.
    Resealed(u64),
    /// A cell cannot be opened, and stays unchanged.
    Unreadable(SealedCell, OpenError),
}

/// The outcome of a rotation.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Outcome {
    /// Every text is sealed under the first key.
    Done,
    /// This many rows cannot be opened; all others are sealed under the first key.
    Unreadable(u64),
    /// New rows keep appearing under these keys: a service still seals under them.
    KeepAppearing(BTreeSet<String>),
}

/// The counts of one pass over all rows.
#[derive(Debug, Default)]
struct Pass {
    /// The number of resealed rows.
    resealed: u64,
    /// The number of rows that were skipped because they were being changed, or had been changed.
    skipped: u64,
    /// The number of rows that cannot be opened.
    unreadable: u64,
}

impl Pass {
    /// Returns whether the `remaining` rows are those that this pass could not open. That is certain only when the pass
    /// tried every row: an unreadable row may have been deleted since, and a skipped row must not count in its place.
    fn only_unreadable_rows_remain(&self, remaining: u64) -> bool {
        self.resealed == 0 && self.skipped == 0 && remaining <= self.unreadable
    }
}

/// The error of a rotation. Rows that were resealed stay resealed.
#[derive(Debug, Error)]
pub enum RotationError {
    /// A key is missing from the ring.
    #[error(transparent)]
    Missing(#[from] MissingKeys),
    /// The database failed, or did not answer before the deadline.
    #[error("{0}; resealed rows stay resealed: start again to continue with the remaining rows")]
    Database(#[from] DbError),
    /// The progress cannot be written.
    #[error("cannot write the progress: {0}")]
    Output(#[from] io::Error),
}

impl Rotation {
    /// Creates a rotation of the texts in `seals` to the first of `keys`.
    #[must_use]
    pub fn new(seals: Seals, keys: Arc<KeyRing>, clock: Clock) -> Self {
        Self {
            seals,
            keys,
            clock,
            reported: BTreeSet::new(),
        }
    }

    /// Reseals every text that is sealed under another key, and reports the progress to `report`.
    ///
    /// # Errors
    ///
    /// See [`RotationError`].
    pub async fn run(
        mut self,
        report: &mut impl FnMut(Event) -> io::Result<()>,
    ) -> Result<Outcome, RotationError> {
        let mut remaining = self.remaining().await?;
        for _ in 0..MAX_PASSES {
            report(Event::Remaining(rows(&remaining)))?;
            let mut pass = Pass::default();
            for (field, key_id) in remaining.iter().map(|count| (count.field, &count.key_id)) {
                self.reseal_field(field, key_id, &mut pass, report).await?;
            }
            tokio::time::sleep(PAUSE).await;
            remaining = self.remaining().await?;
            match rows(&remaining) {
                0 => return Ok(Outcome::Done),
                rows if pass.only_unreadable_rows_remain(rows) => return Ok(Outcome::Unreadable(rows)),
                _ => {}
            }
        }
        let keys = remaining.into_iter().map(|count| count.key_id);
        Ok(Outcome::KeepAppearing(keys.collect()))
    }

    /// Counts the rows that are sealed under other keys than the first.
    async fn remaining(&self) -> Result<Vec<SealCount>, RotationError> {
        let mut counts = self.seals.count().await?;
        self.keys
            .has_all(counts.iter().map(|count| count.key_id.as_str()))?;
        counts.retain(|count| count.key_id != self.keys.sealing_id());
        Ok(counts)
    }

    /// Reseals `field` of all people where it is sealed under the key.
    async fn reseal_field(
        &mut self,
        field: Field,
        key_id: &str,
        pass: &mut Pass,
        report: &mut impl FnMut(Event) -> io::Result<()>,
    ) -> Result<(), RotationError> {
        let mut after = None;
        loop {
            // Some of these people have only another field under this key.
            let people = self.seals.people_under(key_id, after).await?;
            let Some(last) = people.last() else {
                return Ok(());
            };
            after = Some(*last);
            for person in people {
                self.reseal_person(person, field, key_id, pass, report).await?;
            }
        }
    }

    /// Reseals `field` of one person where it is sealed under the key, by batches.
    async fn reseal_person(
        &mut self,
        person: UserId,
        field: Field,
        key_id: &str,
        pass: &mut Pass,
        report: &mut impl FnMut(Event) -> io::Result<()>,
    ) -> Result<(), RotationError> {
        let mut after = None;
        loop {
            let rows = self.seals.rows_under(person, field, key_id, after).await?;
            let Some(last) = rows.last() else { return Ok(()) };
            after = Some(last.id);
            let is_last = (rows.len() as i64) < BATCH_SIZE;
            self.reseal_batch(person, field, rows, pass, report).await?;
            if is_last {
                return Ok(());
            }
        }
    }

    /// Reseals one batch of rows.
    async fn reseal_batch(
        &mut self,
        person: UserId,
        field: Field,
        rows: Vec<SealedRow>,
        pass: &mut Pass,
        report: &mut impl FnMut(Event) -> io::Result<()>,
    ) -> Result<(), RotationError> {
        let mut replacements = Replacements::default();
        for row in rows {
            let cell = Cell {
                owner: person,
                row: row.id,
                field,
            };
            match self.keys.open(cell, &row.sealed) {
                Ok(text) => {
                    let sealed = self.keys.seal(cell, text.expose_secret(), self.clock.now());
                    replacements.add(row, sealed);
                }
                Err(error) => {
                    pass.unreadable += 1;
                    let sealed_cell = SealedCell {
                        field,
                        person: *person.as_uuid(),
                        row: row.id,
                    };
                    if self.reported.insert(sealed_cell) {
                        report(Event::Unreadable(sealed_cell, error))?;
                    }
                }
            }
        }
        if !replacements.is_empty() {
            let resealed = self.seals.replace(person, field, &replacements).await?;
            pass.resealed += resealed;
            pass.skipped += replacements.len().saturating_sub(resealed);
            report(Event::Resealed(resealed))?;
        }
        Ok(())
    }
}

/// Returns the sum of the counted rows.
fn rows(counts: &[SealCount]) -> u64 {
    counts.iter().map(|count| count.rows).sum()
}
