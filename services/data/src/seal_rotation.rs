//! Changing the key that seals: everything that is sealed under another key is sealed anew under the first one.
//!
//! The service goes on meanwhile. A row is read, opened and sealed without any lock, and written only if it still holds
//! the token that was read, so whoever changes a message at the same time wins, and nothing that they wrote is lost. What
//! was done is done: stopped at any moment and started again, it goes on with what is left.

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
    store::seal::{BATCH, Replacements, SealCount, SealedRow, Seals},
};

/// How many times to go through everything until nothing is left. What is left after one time was being changed just
/// then, or is new: sealed under another key by a service that still does so.
const PASSES: usize = 5;

/// How long to wait before it is counted what is left: what was being changed is done with by then, and a service that
/// still seals with another key has most likely done so.
const PAUSE: Duration = Duration::from_secs(2);

/// Everything that is sealed, and the keys.
#[derive(Debug)]
pub struct Rotation {
    seals: Seals,
    keys: Arc<KeyRing>,
    clock: Clock,
    /// What does not open, of which each was told once.
    told: BTreeSet<SealedCell>,
}

/// The field of a person's row.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub struct SealedCell {
    /// The field.
    pub field: Field,
    /// The person's id.
    pub person: Uuid,
    /// The row's id.
    pub row: Uuid,
}

/// What happens on the way.
#[derive(Debug)]
pub enum Event {
    /// So many rows are sealed under other keys than the first, now.
    Left(u64),
    /// So many rows were sealed anew.
    Sealed(u64),
    /// One does not open, and stays as it is.
    DoesNotOpen(SealedCell, OpenError),
}

/// How it ended.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Outcome {
    /// Everything is sealed under the first key.
    Done,
    /// All but so many rows, which do not open.
    DoNotOpen(u64),
    /// There are always new rows under these keys: some service still seals with them.
    KeepAppearing(BTreeSet<String>),
}

/// What was found in going through everything once.
#[derive(Debug, Default)]
struct Pass {
    /// So many rows were sealed anew.
    sealed: u64,
    /// So many were left for another time: they were being changed just then, or have been.
    skipped: u64,
    /// So many do not open.
    closed: u64,
}

impl Pass {
    /// Whether the `left` rows are the ones that it could not open. It has to have tried every row that it met: a row that
    /// does not open may have been deleted since, and one that was skipped is not to be taken for it.
    fn shows_closed(&self, left: u64) -> bool {
        self.sealed == 0 && self.skipped == 0 && left <= self.closed
    }
}

/// Why it ended early. What was sealed anew is.
#[derive(Debug, Error)]
pub enum RotationError {
    /// Something cannot be opened because its key is missing.
    #[error(transparent)]
    Missing(#[from] MissingKeys),
    /// The database failed.
    #[error("{0}; what was sealed anew stays so: start again, to go on with what is left")]
    Database(#[from] DbError),
    /// Nobody could be told what happens.
    #[error("the progress cannot be written: {0}")]
    Output(#[from] io::Error),
}

impl Rotation {
    /// The rotation of everything in `seals` to the first of `keys`.
    #[must_use]
    pub fn new(seals: Seals, keys: Arc<KeyRing>, clock: Clock) -> Self {
        Self {
            seals,
            keys,
            clock,
            told: BTreeSet::new(),
        }
    }

    /// Seals anew what has to be, and tells `tell` what happens.
    ///
    /// # Errors
    ///
    /// See [`RotationError`].
    pub async fn run(
        mut self,
        tell: &mut impl FnMut(Event) -> io::Result<()>,
    ) -> Result<Outcome, RotationError> {
        let mut left = self.left().await?;
        for _ in 0..PASSES {
            tell(Event::Left(rows(&left)))?;
            let mut pass = Pass::default();
            for (field, key_id) in left.iter().map(|count| (count.field, &count.key_id)) {
                self.field(field, key_id, &mut pass, tell).await?;
            }
            tokio::time::sleep(PAUSE).await;
            left = self.left().await?;
            match rows(&left) {
                0 => return Ok(Outcome::Done),
                rows if pass.shows_closed(rows) => return Ok(Outcome::DoNotOpen(rows)),
                _ => {}
            }
        }
        let keys = left.into_iter().map(|count| count.key_id);
        Ok(Outcome::KeepAppearing(keys.collect()))
    }

    /// What is sealed under other keys than the first.
    async fn left(&self) -> Result<Vec<SealCount>, RotationError> {
        let mut counts = self.seals.count().await?;
        self.keys
            .has_all(counts.iter().map(|count| count.key_id.as_str()))?;
        counts.retain(|count| count.key_id != self.keys.sealing_id());
        Ok(counts)
    }

    /// Goes through everybody's `field` where it is sealed under the key.
    async fn field(
        &mut self,
        field: Field,
        key_id: &str,
        pass: &mut Pass,
        tell: &mut impl FnMut(Event) -> io::Result<()>,
    ) -> Result<(), RotationError> {
        let mut after = None;
        loop {
            // Some of them have another field alone under this key, and no row of this one.
            let people = self.seals.people_under(key_id, after).await?;
            let Some(last) = people.last() else {
                return Ok(());
            };
            after = Some(*last);
            for person in people {
                self.person(person, field, key_id, pass, tell).await?;
            }
        }
    }

    /// The same for one person, batch by batch.
    async fn person(
        &mut self,
        person: UserId,
        field: Field,
        key_id: &str,
        pass: &mut Pass,
        tell: &mut impl FnMut(Event) -> io::Result<()>,
    ) -> Result<(), RotationError> {
        let mut after = None;
        loop {
            let rows = self.seals.rows_under(person, field, key_id, after).await?;
            let Some(last) = rows.last() else { return Ok(()) };
            after = Some(last.id);
            let is_last = (rows.len() as i64) < BATCH;
            self.batch(person, field, rows, pass, tell).await?;
            if is_last {
                return Ok(());
            }
        }
    }

    async fn batch(
        &mut self,
        person: UserId,
        field: Field,
        rows: Vec<SealedRow>,
        pass: &mut Pass,
        tell: &mut impl FnMut(Event) -> io::Result<()>,
    ) -> Result<(), RotationError> {
        let mut anew = Replacements::default();
        for row in rows {
            let cell = Cell {
                owner: person,
                row: row.id,
                field,
            };
            match self.keys.open(cell, &row.sealed) {
                Ok(text) => {
                    let sealed = self.keys.seal(cell, text.expose_secret(), self.clock.now());
                    anew.add(row, sealed);
                }
                Err(error) => {
                    pass.closed += 1;
                    let place = SealedCell {
                        field,
                        person: *person.as_uuid(),
                        row: row.id,
                    };
                    if self.told.insert(place) {
                        tell(Event::DoesNotOpen(place, error))?;
                    }
                }
            }
        }
        if !anew.is_empty() {
            let sealed = self.seals.replace(person, field, &anew).await?;
            pass.sealed += sealed;
            pass.skipped += anew.len().saturating_sub(sealed);
            tell(Event::Sealed(sealed))?;
        }
        Ok(())
    }
}

fn rows(counts: &[SealCount]) -> u64 {
    counts.iter().map(|count| count.rows).sum()
}
