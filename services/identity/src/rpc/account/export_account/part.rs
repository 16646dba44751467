//! The parts of an export: one for each table, in the order of the export.

use std::collections::BTreeMap;

use chrono::{DateTime, Utc};
use haven_proto::identity::v1::ExportAccountResponse;
use uuid::Uuid;

/// A part of an export, with the position after which its next page starts.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Part {
    /// The account, one row.
    Account,
    /// Consents after this id.
    Consents(Uuid),
    /// Sessions after this id.
    Sessions(Uuid),
    /// Refresh tokens after this id.
    RefreshTokens(Uuid),
    /// Device tokens after this id.
    DeviceTokens(Uuid),
    /// Recovery tokens after this id.
    RecoveryTokens(Uuid),
    /// Audit events after this number.
    AuditEvents(i64),
}

/// A page of a part.
pub(super) struct PartPage {
    /// The page as a response message.
    pub(super) answer: ExportAccountResponse,
    /// The number of rows on the page.
    pub(super) rows: usize,
    /// The position after the last row. `None` when the page is empty or the part has only one page.
    pub(super) last: Option<Part>,
}

/// The number of parts.
const PARTS: usize = 7;

/// The bytes of a position in a part: an id, or a number and zeros.
const POSITION_BYTES: usize = 16;

// === impl Part ===

impl Part {
    /// The position before the first row of the export.
    pub(super) const FIRST: Self = Self::Account;

    /// Returns the table that this part is read from.
    pub(super) fn table(self) -> &'static str {
        match self {
            Self::Account => "identity.users",
            Self::Consents(_) => "identity.consents",
            Self::Sessions(_) => "identity.sessions",
            Self::RefreshTokens(_) => "identity.refresh_tokens",
            Self::DeviceTokens(_) => "identity.device_tokens",
            Self::RecoveryTokens(_) => "identity.recovery_tokens",
            Self::AuditEvents(_) => "identity.security_audit_log",
        }
    }

    /// Returns the beginning of the next part; `None` when this is the last one.
    pub(super) fn next(self) -> Option<Self> {
        match self {
            Self::Account => Some(Self::Consents(Uuid::nil())),
            Self::Consents(_) => Some(Self::Sessions(Uuid::nil())),
            Self::Sessions(_) => Some(Self::RefreshTokens(Uuid::nil())),
            Self::RefreshTokens(_) => Some(Self::DeviceTokens(Uuid::nil())),
            Self::DeviceTokens(_) => Some(Self::RecoveryTokens(Uuid::nil())),
            Self::RecoveryTokens(_) => Some(Self::AuditEvents(0)),
            Self::AuditEvents(_) => None,
        }
    }

    /// Returns the beginnings of all parts, in the order of the export.
    fn all() -> impl Iterator<Item = Self> {
        std::iter::successors(Some(Self::FIRST), |part| part.next())
    }

    /// Returns the part's number and its position.
    fn to_bytes(self) -> (u8, [u8; POSITION_BYTES]) {
        let number = Self::all()
            .take_while(|part| part.table() != self.table())
            .count() as u8;
        let position = match self {
            Self::Account => [0; POSITION_BYTES],
            Self::Consents(after)
            | Self::Sessions(after)
            | Self::RefreshTokens(after)
            | Self::DeviceTokens(after)
            | Self::RecoveryTokens(after) => after.into_bytes(),
            Self::AuditEvents(after) => {
                let mut bytes = [0; POSITION_BYTES];
                bytes[..8].copy_from_slice(&after.to_be_bytes());
                bytes
            }
        };
        (number, position)
    }

    /// Returns the part with this number, at this position.
    fn from_bytes(number: u8, bytes: [u8; POSITION_BYTES]) -> Option<Self> {
        let id = Uuid::from_bytes(bytes);
        let (count, _) = bytes.split_first_chunk()?;
        Some(match Self::all().nth(number.into())? {
            Self::Account => Self::Account,
            Self::Consents(_) => Self::Consents(id),
            Self::Sessions(_) => Self::Sessions(id),
            Self::RefreshTokens(_) => Self::RefreshTokens(id),
            Self::DeviceTokens(_) => Self::DeviceTokens(id),
            Self::RecoveryTokens(_) => Self::RecoveryTokens(id),
            Self::AuditEvents(_) => Self::AuditEvents(i64::from_be_bytes(*count)),
        })
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

#[cfg(test)]
mod tests {
    use std::collections::BTreeSet;

    use super::*;

    #[test]
    fn an_export_is_continued_from_every_part() {
        let id = Uuid::from_u128(3);
        let parts = [
            Part::Account,
            Part::Consents(id),
            Part::Sessions(id),
            Part::RefreshTokens(id),
            Part::DeviceTokens(id),
            Part::RecoveryTokens(id),
            Part::AuditEvents(7),
        ];
        assert_eq!(Part::all().count(), PARTS);
        let tables: BTreeSet<_> = Part::all().map(Part::table).collect();
        assert_eq!(tables.len(), PARTS, "each table is exported once");
        let mut rows = BTreeMap::new();
        for (number, part) in parts.into_iter().enumerate() {
            rows.insert(part.table(), number as i64);
            let resume = Resume {
                part,
                start: DateTime::from_timestamp_micros(1_800_000_000_000_001).unwrap(),
                rows: rows.clone(),
            };
            assert_eq!(Resume::from_bytes(resume.to_bytes()), Some(resume));
        }
        assert_eq!(Resume::from_bytes([255; Resume::BYTES]), None);
    }
}
