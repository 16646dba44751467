//! The keyset cursor of lists in order of time.

use chrono::{DateTime, Utc};
use uuid::Uuid;

/// A row's position in a list that is ordered by time and then by id.
///
/// The bytes of a cursor are microseconds since 1970 (8 bytes, big-endian), then the id (16 bytes).
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Cursor {
    /// The row's time, such as its creation time, to the microsecond.
    pub at: DateTime<Utc>,
    /// The row's id, which orders rows of the same time.
    pub id: Uuid,
}

impl Cursor {
    /// The cursor's size in bytes.
    pub const BYTES: usize = 24;

    /// Returns the cursor as bytes, for a page token.
    #[must_use]
    pub fn to_bytes(self) -> [u8; Self::BYTES] {
        let mut bytes = [0; Self::BYTES];
        bytes[..8].copy_from_slice(&self.at.timestamp_micros().to_be_bytes());
        bytes[8..].copy_from_slice(self.id.as_bytes());
        bytes
    }

    /// Returns the cursor that [`Cursor::to_bytes`] wrote. `None` when the first eight bytes are not a time that chrono
    /// can represent.
    #[must_use]
    pub fn from_bytes(bytes: [u8; Self::BYTES]) -> Option<Self> {
        let (micros, id) = bytes.split_first_chunk()?;
        Some(Self {
            at: DateTime::from_timestamp_micros(i64::from_be_bytes(*micros))?,
            id: Uuid::from_slice(id).ok()?,
        })
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_cursor_is_a_time_and_an_id() {
        let cursor = Cursor {
            at: DateTime::from_timestamp_micros(1_800_000_000_000_001).unwrap(),
            id: Uuid::from_u128(2),
        };
        let mut bytes = cursor.to_bytes();
        assert_eq!(Cursor::from_bytes(bytes), Some(cursor));
        bytes[..8].copy_from_slice(&i64::MAX.to_be_bytes());
        assert_eq!(Cursor::from_bytes(bytes), None);
    }
}
