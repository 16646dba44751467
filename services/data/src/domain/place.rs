//! Places in what comes in the order of time.

use chrono::{DateTime, Utc};
use uuid::Uuid;

/// The place of one thing among those of its person that come in the order of time, and by id where that is the same.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Place {
    /// When it came about, to the microsecond.
    pub at: DateTime<Utc>,
    /// Its id.
    pub id: Uuid,
}

impl Place {
    /// The place as octets, for a page token.
    #[must_use]
    pub fn to_octets(self) -> [u8; 24] {
        let mut octets = [0; 24];
        octets[..8].copy_from_slice(&self.at.timestamp_micros().to_be_bytes());
        octets[8..].copy_from_slice(self.id.as_bytes());
        octets
    }

    /// The place that such octets say. None: they say no time.
    #[must_use]
    pub fn from_octets(octets: [u8; 24]) -> Option<Self> {
        let (micros, id) = octets.split_first_chunk()?;
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
    fn a_place_is_a_time_and_an_id() {
        let place = Place {
            at: DateTime::from_timestamp_micros(1_800_000_000_000_001).unwrap(),
            id: Uuid::from_u128(2),
        };
        let mut octets = place.to_octets();
        assert_eq!(Place::from_octets(octets), Some(place));
        octets[..8].copy_from_slice(&i64::MAX.to_be_bytes());
        assert_eq!(Place::from_octets(octets), None);
    }
}
