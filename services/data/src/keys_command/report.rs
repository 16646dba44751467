//! What `data keys` prints.

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

/// Between two lines that say how far it is.
const INTERVAL: Duration = Duration::from_secs(1);

/// Says how far it is, a line a second at most.
pub(super) struct Progress<'a, W> {
    key: &'a str,
    output: &'a mut W,
    sealed: u64,
    total: u64,
    said: Option<Instant>,
}

impl<'a, W: Write> Progress<'a, W> {
    pub(super) fn new(key: &'a str, output: &'a mut W) -> Self {
        Self {
            key,
            output,
            sealed: 0,
            total: 0,
            said: None,
        }
    }

    pub(super) fn tell(&mut self, event: Event, now: Instant) -> io::Result<()> {
        match event {
            Event::Left(rows) => self.total = self.sealed + rows,
            Event::Sealed(rows) => {
                self.sealed += rows;
                // Some were not there yet when they were counted.
                self.total = self.total.max(self.sealed);
            }
            Event::DoesNotOpen(SealedCell { field, person, row }, error) => {
                return writeln!(
                    self.output,
                    "{} of person {person}, row {row}: {error}",
                    field.name()
                );
            }
        }
        if self.said.is_some_and(|said| now < said + INTERVAL) {
            return Ok(());
        }
        self.said = Some(now);
        self.end()
    }

    /// How far it is now.
    pub(super) fn end(&mut self) -> io::Result<()> {
        let Self {
            key, sealed, total, ..
        } = *self;
        writeln!(self.output, "{sealed} of {total} rows sealed anew under `{key}`")
    }
}

/// A line for each field and key, the keys that rows name and no ring has at the end of their field.
pub(super) fn print_status(counts: &[SealCount], keys: &KeyRing, output: &mut impl Write) -> io::Result<()> {
    for field in Field::ALL {
        let of_field = || counts.iter().filter(move |count| count.field == field);
        let missing = of_field().map(|count| count.key_id.as_str());
        let missing = missing.filter(|id| !keys.ids().any(|known| known == *id));
        for id in keys.ids().chain(missing) {
            let rows = of_field().find(|count| count.key_id == id);
            let rows = rows.map_or(0, |count| count.rows);
            let standing = match id {
                _ if id == keys.sealing_id() => "seals",
                _ if keys.ids().any(|known| known == id) => "opens",
                _ => "missing",
            };
            writeln!(output, "{:<26} {id:<8} {rows:>12} {standing}", field.name())?;
        }
    }
    Ok(())
}

/// The ids as a sentence names them.
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
        let mut said = Vec::new();
        print_status(&counts, &keys, &mut said).unwrap();
        assert_eq!(
            String::from_utf8(said).unwrap(),
            "conversations.message_text new                 0 seals\n\
             conversations.message_text old           1200000 opens\n\
             conversations.message_text lost                3 missing\n\
             analysis_results.details   new                 7 seals\n\
             analysis_results.details   old                 0 opens\n"
        );
    }

    #[test]
    fn progress_is_a_line_a_second_and_what_does_not_open_is_said_at_once() {
        let mut said = Vec::new();
        let mut progress = Progress::new("new", &mut said);
        let began = Instant::now();
        let place = SealedCell {
            field: Field::MessageText,
            person: Uuid::from_u128(1),
            row: Uuid::from_u128(2),
        };
        let events = [
            (0, Event::Left(500)),
            (1, Event::Sealed(100)),
            (999, Event::Sealed(100)),
            (999, Event::DoesNotOpen(place, OpenError::Misplaced)),
            (1000, Event::Sealed(99)),
            (1001, Event::Sealed(202)),
            (1002, Event::Left(3)),
        ];
        for (millis, event) in events {
            progress
                .tell(event, began + Duration::from_millis(millis))
                .unwrap();
        }
        progress.end().unwrap();
        assert_eq!(
            String::from_utf8(said).unwrap(),
            "0 of 500 rows sealed anew under `new`\n\
             conversations.message_text of person 00000000-0000-0000-0000-000000000001, \
             row 00000000-0000-0000-0000-000000000002: the sealed text belongs to another place\n\
             299 of 500 rows sealed anew under `new`\n\
             501 of 504 rows sealed anew under `new`\n"
        );
    }
}
