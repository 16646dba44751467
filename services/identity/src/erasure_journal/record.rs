//! A record of the journal: one completed erasure.

use chrono::{DateTime, SecondsFormat, Utc};
use haven_platform::call::UserId;
use serde::Deserialize;
use uuid::Uuid;

/// A completed erasure.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Record {
    /// The id of the erased person.
    pub user_id: UserId,
    /// The time at which data confirmed the erasure.
    pub completed_at: DateTime<Utc>,
}

/// The length of each line in bytes, with the line break.
pub(super) const LINE_BYTES: usize = 96;

/// The beginning of each line.
const BEGINNING: &[u8] = b"{\"user_id\":\"";

/// A line, as JSON.
#[derive(Deserialize)]
#[serde(deny_unknown_fields)]
struct Line<'a> {
    user_id: &'a str,
    completed_at: &'a str,
}

// === impl Record ===

impl Record {
    /// Returns the line of this record, with its line break.
    #[must_use]
    pub fn line(&self) -> String {
        let at = self.completed_at.to_rfc3339_opts(SecondsFormat::Micros, true);
        format!("{{\"user_id\":\"{}\",\"completed_at\":\"{at}\"}}\n", self.user_id)
    }

    /// Parses a line without its line break. `None` when it is not a record.
    #[must_use]
    pub fn parse(line: &[u8]) -> Option<Self> {
        let line: Line<'_> = serde_json::from_slice(line).ok()?;
        let user_id = Uuid::try_parse(line.user_id).ok().filter(|id| !id.is_nil())?;
        let completed_at = DateTime::parse_from_rfc3339(line.completed_at).ok()?;
        Some(Self {
            user_id: UserId::new(user_id),
            completed_at: completed_at.to_utc(),
        })
    }
}

/// Returns whether `bytes`, which have no line break, can be the beginning of a line, or are empty.
pub(super) fn is_beginning_of_line(bytes: &[u8]) -> bool {
    let length = bytes.len().min(BEGINNING.len());
    bytes.len() < LINE_BYTES && bytes[..length] == BEGINNING[..length]
}

#[cfg(test)]
mod tests {
    use super::*;

    const LINE: &str =
        r#"{"user_id":"01890a5d-ac96-774b-bcce-b302099a8057","completed_at":"2026-11-29T01:02:03.000004Z"}"#;

    #[test]
    fn a_line_has_an_id_and_a_time() {
        let record = Record::parse(LINE.as_bytes()).unwrap();
        assert_eq!(record.line(), format!("{LINE}\n"));
        assert_eq!(record.line().len(), LINE_BYTES);
        let more = LINE.replace('}', r#","email":"ada@example.org"}"#);
        for wrong in ["", "{}", "[]", &LINE[1..], &LINE.replace("01890a5d", "x"), &more] {
            assert_eq!(Record::parse(wrong.as_bytes()), None, "{wrong}");
        }
    }
}
