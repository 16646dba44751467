//! The output of `data keys`.

use std::{
    io::{self, Write},
    time::Duration,
};

use tokio::time::Instant;

use crate::{
    domain::{key_ring::KeyRing, sealing::Field},
    seal_rotation::{Event, SealedCell},
    store::seal::SealCount,
};

/// The shortest time between two lines of progress.
const INTERVAL: Duration = Duration::from_secs(1);

/// Prints the progress of a rotation, at most a line a second.
pub(super) struct Progress<'a, W> {
    key: &'a str,
    output: &'a mut W,
    sealed: u64,
    total: u64,
    printed_at: Option<Instant>,
}

impl<'a, W: Write> Progress<'a, W> {
    /// Creates the progress of a rotation to `key`.
    pub(super) fn new(key: &'a str, output: &'a mut W) -> Self {
        Self {
            key,
            output,
            sealed: 0,
            total: 0,
            printed_at: None,
        }
    }

    /// Prints `event`: an unreadable row always, the progress if the last line is old enough.
    pub(super) fn report(&mut self, event: Event, now: Instant) -> io::Result<()> {
        match event {
            Event::Remaining(rows) => self.total = self.sealed + rows,
            Event::Resealed(rows) => {
                self.sealed += rows;
                // Some rows were stored after the count.
                self.total = self.total.max(self.sealed);
            }
            Event::Unreadable(SealedCell { field, person, row }, error) => {
                return writeln!(
                    self.output,
                    "{} of person {person}, row {row}: {error}",
                    field.name()
                );
            }
        }
        if self.printed_at.is_some_and(|at| now < at + INTERVAL) {
            return Ok(());
        }
        self.printed_at = Some(now);
        self.write()
    }

    /// Prints the current progress.
    pub(super) fn write(&mut self) -> io::Result<()> {
        let Self {
            key, sealed, total, ..
        } = *self;
        writeln!(self.output, "{sealed} of {total} rows resealed under `{key}`")
    }
}

/// Prints a line for each field and key; within a field, the keys of the ring come first, and missing keys last.
pub(super) fn print_status(counts: &[SealCount], keys: &KeyRing, output: &mut impl Write) -> io::Result<()> {
    for field in Field::ALL {
        let of_field = || counts.iter().filter(move |count| count.field == field);
        let missing = of_field().map(|count| count.key_id.as_str());
        let missing = missing.filter(|id| !keys.ids().any(|ring_id| ring_id == *id));
        for id in keys.ids().chain(missing) {
            let rows = of_field().find(|count| count.key_id == id);
            let rows = rows.map_or(0, |count| count.rows);
            let role = match id {
                _ if id == keys.sealing_id() => "seals",
                _ if keys.ids().any(|ring_id| ring_id == id) => "opens",
                _ => "missing",
            };
            writeln!(output, "{:<26} {id:<8} {rows:>12} {role}", field.name())?;
        }
    }
    Ok(())
}

/// Joins the ids for a sentence: `a` and `b`.
pub(super) fn list<'a>(ids: impl Iterator<Item = &'a str>) -> String {
    ids.map(|id| format!("`{id}`")).collect::<Vec<_>>().join(" and ")
}

#[cfg(test)]
mod tests {
    use secrecy::SecretString;
    use uuid::Uuid;

    use super::*;
    use crate::domain::sealing::OpenError;

    const KEY: &str = "AAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAA=";

    #[test]
    fn a_status_has_a_line_for_each_field_and_key() {
        let keys = KeyRing::new(&["new", "old"].map(|id| (id.to_owned(), SecretString::from(KEY)))).unwrap();
        let count = |field, key_id: &str, rows| SealCount {
            field,
            key_id: key_id.to_owned(),
            rows,
        };
        let counts = [
            count(Field::MessageText, "lost", 3),
            count(Field::MessageText, "old", 1_200_000),
            count(Field::AnalysisDetails, "new", 7),
        ];
        let mut output = Vec::new();
        print_status(&counts, &keys, &mut output).unwrap();
        assert_eq!(
            String::from_utf8(output).unwrap(),
            "conversations.message_text new                 0 seals\n\
             conversations.message_text old           1200000 opens\n\
             conversations.message_text lost                3 missing\n\
             analysis_results.details   new                 7 seals\n\
             analysis_results.details   old                 0 opens\n"
        );
    }

    #[test]
    fn progress_is_printed_once_a_second_and_unreadable_rows_at_once() {
        let mut output = Vec::new();
        let mut progress = Progress::new("new", &mut output);
        let began = Instant::now();
        let cell = SealedCell {
            field: Field::MessageText,
            person: Uuid::from_u128(1),
            row: Uuid::from_u128(2),
        };
        let events = [
            (0, Event::Remaining(500)),
            (1, Event::Resealed(100)),
            (999, Event::Resealed(100)),
            (999, Event::Unreadable(cell, OpenError::Misplaced)),
            (1000, Event::Resealed(99)),
            (1001, Event::Resealed(202)),
            (1002, Event::Remaining(3)),
        ];
        for (millis, event) in events {
            progress
                .report(event, began + Duration::from_millis(millis))
                .unwrap();
        }
        progress.write().unwrap();
        assert_eq!(
            String::from_utf8(output).unwrap(),
            "0 of 500 rows resealed under `new`\n\
             conversations.message_text of person 00000000-0000-0000-0000-000000000001, \
             row 00000000-0000-0000-0000-000000000002: the sealed text belongs to another person, row or field\n\
             299 of 500 rows resealed under `new`\n\
             501 of 504 rows resealed under `new`\n"
        );
    }
}
