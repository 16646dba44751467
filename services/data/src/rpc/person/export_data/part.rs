//! The parts of an export: one for each table, in the order of the export.

use std::collections::BTreeMap;

use chrono::{DateTime, Utc};
use haven_platform::cursor::Cursor;
use haven_proto::data::v1::ExportDataResponse;
use uuid::Uuid;

use crate::store::person::export_data::BEGINNING;

/// A part of an export, with the position after which its next page starts.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Part {
    /// Messages after this number.
    Messages(i64),
    /// Analyses that end after this message number.
    Analyses(i64),
    /// Jobs that end after this message number.
    Jobs(i64),
    /// Crisis events after this cursor.
    CrisisEvents(Cursor),
    /// Devices after this cursor.
    Devices(Cursor),
    /// Records after this id.
    Records(Uuid),
    /// Conflicts after this id.
    Conflicts(Uuid),
    /// The preferences, at most one document.
    Preferences,
    /// Shares after this cursor.
    Shares(Cursor),
    /// Attempts to open shares, after this cursor at the share with this id.
    ShareAccesses(Uuid, Cursor),
    /// Audit events after this cursor.
    AuditEvents(Cursor),
}

/// A page of a part.
pub(super) struct PartPage {
    /// The page as a response message.
    pub(super) answer: ExportDataResponse,
    /// The number of rows on the page, including those that cannot be opened.
    pub(super) rows: usize,
    /// The position after the last row. `None` when the page is empty or the part has only one page.
    pub(super) last: Option<Part>,
}

// === impl Part ===

impl Part {
    /// The position before the first row of the export.
    pub(super) const FIRST: Self = Self::Messages(0);

    /// Returns the table that this part is read from.
    pub(super) fn table(self) -> &'static str {
        match self {
            Self::Messages(_) => "data.conversations",
            Self::Analyses(_) => "data.analysis_results",
            Self::Jobs(_) => "data.analysis_jobs",
            Self::CrisisEvents(_) => "data.crisis_events",
            Self::Devices(_) => "data.device_key",
            Self::Records(_) => "data.encrypted_cycle_data",
            Self::Conflicts(_) => "data.cycle_data_conflicts",
            Self::Preferences => "data.encrypted_user_prefs",
            Self::Shares(_) => "data.healthcare_share",
            Self::ShareAccesses(..) => "data.healthcare_share_audit",
            Self::AuditEvents(_) => "data.security_audit_log",
        }
    }

    /// Returns the beginning of the next part; `None` when this is the last one.
    pub(super) fn next(self) -> Option<Self> {
        match self {
            Self::Messages(_) => Some(Self::Analyses(0)),
            Self::Analyses(_) => Some(Self::Jobs(0)),
            Self::Jobs(_) => Some(Self::CrisisEvents(BEGINNING)),
            Self::CrisisEvents(_) => Some(Self::Devices(BEGINNING)),
            Self::Devices(_) => Some(Self::Records(Uuid::nil())),
            Self::Records(_) => Some(Self::Conflicts(Uuid::nil())),
            Self::Conflicts(_) => Some(Self::Preferences),
            Self::Preferences => Some(Self::Shares(BEGINNING)),
            Self::Shares(_) => Some(Self::ShareAccesses(Uuid::nil(), BEGINNING)),
            Self::ShareAccesses(..) => Some(Self::AuditEvents(BEGINNING)),
            Self::AuditEvents(_) => None,
        }
    }
}

/// The position at which an export is continued.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(super) struct Resume {
    /// The next page to read.
    pub(super) part: Part,
    /// The time at which the export started.
    pub(super) start: DateTime<Utc>,
    /// The number of rows that were exported before, by table, for each table up to that of `part`.
    pub(super) rows: BTreeMap<&'static str, i64>,
}

/// The number of parts.
const PARTS: usize = 11;

/// The bytes of a position in a part: an id, a time and an id.
const POSITION_BYTES: usize = 16 + Cursor::BYTES;

// === impl Resume ===

impl Resume {
    /// The size in bytes: the start, the part's number, the position in the part, and a count for each part.
    pub(super) const BYTES: usize = 8 + 1 + POSITION_BYTES + 8 * PARTS;

    /// Returns the bytes of the resume token.
    pub(super) fn to_bytes(&self) -> [u8; Self::BYTES] {
        let mut bytes = [0; Self::BYTES];
        bytes[..8].copy_from_slice(&self.start.timestamp_micros().to_be_bytes());
        let (number, position) = self.part.to_bytes();
        bytes[8] = number;
        bytes[9..9 + POSITION_BYTES].copy_from_slice(&position);
        for (part, count) in Part::all().zip(bytes[9 + POSITION_BYTES..].chunks_exact_mut(8)) {
            let rows = self.rows.get(part.table()).copied().unwrap_or_default();
            count.copy_from_slice(&rows.to_be_bytes());
        }
        bytes
    }

    /// Returns what [`Resume::to_bytes`] wrote; `None` when the bytes are not from there.
    pub(super) fn from_bytes(bytes: [u8; Self::BYTES]) -> Option<Self> {
        let (start, rest) = bytes.split_first_chunk()?;
        let (number, rest) = rest.split_first()?;
        let (position, counts) = rest.split_first_chunk()?;
        let part = Part::from_bytes(*number, *position)?;
        let read = Part::all().take(usize::from(*number) + 1);
        let rows = read.zip(counts.chunks_exact(8)).map(|(part, count)| {
            let count = <[u8; 8]>::try_from(count).unwrap_or_default();
            (part.table(), i64::from_be_bytes(count))
        });
        Some(Self {
            part,
            start: DateTime::from_timestamp_micros(i64::from_be_bytes(*start))?,
            rows: rows.collect(),
        })
    }
}

impl Part {
    /// Returns the beginnings of all parts, in the order of the export.
    fn all() -> impl Iterator<Item = Self> {
        std::iter::successors(Some(Self::FIRST), |part| part.next())
    }

    /// Returns the part's number and its position.
    fn to_bytes(self) -> (u8, [u8; POSITION_BYTES]) {
        let number = Self::all()
            .take_while(|part| part.table() != self.table())
            .count() as u8;
        let mut bytes = [0; POSITION_BYTES];
        let (first, rest) = bytes.split_at_mut(16);
        match self {
            Self::Messages(after) | Self::Analyses(after) | Self::Jobs(after) => {
                first[..8].copy_from_slice(&after.to_be_bytes());
            }
            Self::Records(after) | Self::Conflicts(after) => first.copy_from_slice(after.as_bytes()),
            Self::CrisisEvents(after)
            | Self::Devices(after)
            | Self::Shares(after)
            | Self::AuditEvents(after) => {
                rest.copy_from_slice(&after.to_bytes());
            }
            Self::ShareAccesses(share, after) => {
                first.copy_from_slice(share.as_bytes());
                rest.copy_from_slice(&after.to_bytes());
            }
            Self::Preferences => {}
        }
        (number, bytes)
    }

    /// Returns the part with this number, at this position.
    fn from_bytes(number: u8, bytes: [u8; POSITION_BYTES]) -> Option<Self> {
        let (id, rest) = bytes.split_first_chunk::<16>()?;
        let (count, _) = id.split_first_chunk()?;
        let (count, id) = (i64::from_be_bytes(*count), Uuid::from_bytes(*id));
        let cursor = Cursor::from_bytes(rest.try_into().ok()?)?;
        Some(match Self::all().nth(number.into())? {
            Self::Messages(_) => Self::Messages(count),
            Self::Analyses(_) => Self::Analyses(count),
            Self::Jobs(_) => Self::Jobs(count),
            Self::CrisisEvents(_) => Self::CrisisEvents(cursor),
            Self::Devices(_) => Self::Devices(cursor),
            Self::Records(_) => Self::Records(id),
            Self::Conflicts(_) => Self::Conflicts(id),
            Self::Preferences => Self::Preferences,
            Self::Shares(_) => Self::Shares(cursor),
            Self::ShareAccesses(..) => Self::ShareAccesses(id, cursor),
            Self::AuditEvents(_) => Self::AuditEvents(cursor),
        })
    }
}

// === impl PartPage ===

impl PartPage {
    /// Creates a page of `rows` rows with an empty response message, which the caller fills. `last` is the position
    /// after the last row.
    pub(super) fn new(rows: usize, last: Option<Part>) -> Self {
        Self {
            answer: ExportDataResponse::default(),
            rows,
            last,
        }
    }
}

#[cfg(test)]
mod tests {
    use std::collections::BTreeSet;

    use super::*;

    #[test]
    fn each_table_is_exported_once() {
        let mut tables = BTreeSet::new();
        let mut next = Some(Part::FIRST);
        while let Some(part) = next {
            assert!(tables.insert(part.table()), "{part:?}");
            next = part.next();
        }
    }

    #[test]
    fn an_export_is_continued_from_every_part() {
        let cursor = Cursor {
            at: DateTime::from_timestamp_micros(1_800_000_000_000_001).unwrap(),
            id: Uuid::from_u128(2),
        };
        let id = Uuid::from_u128(3);
        let parts = [
            Part::Messages(7),
            Part::Analyses(8),
            Part::Jobs(9),
            Part::CrisisEvents(cursor),
            Part::Devices(cursor),
            Part::Records(id),
            Part::Conflicts(id),
            Part::Preferences,
            Part::Shares(cursor),
            Part::ShareAccesses(id, cursor),
            Part::AuditEvents(cursor),
        ];
        assert_eq!(Part::all().count(), PARTS);
        let mut rows = BTreeMap::new();
        for (number, part) in parts.into_iter().enumerate() {
            rows.insert(part.table(), number as i64);
            let resume = Resume {
                part,
                start: cursor.at,
                rows: rows.clone(),
            };
            assert_eq!(Resume::from_bytes(resume.to_bytes()), Some(resume));
        }
    }
}
