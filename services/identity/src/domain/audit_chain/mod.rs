//! Verification of a person's audit log. Each event's digest covers the event and the digest of the event before it, so
//! an event that was changed, removed or inserted breaks the chain from there on.

use std::fmt;

use sha2::{Digest, Sha256};
use uuid::Uuid;

/// The two ends of a chain, as `identity.audit_chains` stores them.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct ChainEnds {
    /// The number of the newest event that retention trimmed off the old end; 0 when none was trimmed.
    pub trimmed_number: i64,
    /// The digest of that event, which the oldest remaining event builds on.
    pub trimmed_digest: Vec<u8>,
    /// The number of the newest event.
    pub last_number: i64,
    /// The digest of that event.
    pub last_digest: Vec<u8>,
}

/// An event as it is stored. Its content is not trusted before its digest is verified.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct ChainedEvent {
    /// The event's number in the log.
    pub number: i64,
    /// The name of the event's type.
    pub event: String,
    /// `true` when the call was refused.
    pub refused: bool,
    /// The name of the calling service.
    pub service: Option<String>,
    /// The session that the event concerns.
    pub session_id: Option<Uuid>,
    /// The keyed hash of the client's network.
    pub network_mac: Option<Vec<u8>>,
    /// The time of the event, in microseconds since 1970. `None` when the stored time is infinite.
    pub micros: Option<i64>,
    /// The event's digest, of 32 bytes.
    pub digest: Vec<u8>,
}

/// The first broken link of a chain.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Break {
    /// The number of the first wrong event.
    pub number: i64,
    /// The flaw of that event.
    pub flaw: Flaw,
}

/// A flaw of a link of a chain.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Flaw {
    /// The event, or the digest that it builds on, was changed.
    Changed,
    /// The event is missing.
    Missing,
    /// The event was not written by the service.
    Inserted,
    /// The events are consistent with each other, but not with the stored end.
    EndChanged,
    /// There are events, but no stored ends.
    NoEnds,
}

/// The verification of one person's chain, from the old end to the new one.
#[derive(Debug)]
pub struct ChainWalk {
    person: Uuid,
    /// The number of the newest event that was verified or trimmed; `digest` is its digest.
    number: i64,
    digest: Vec<u8>,
    seen: i64,
    events: u64,
    broken: Option<Break>,
}

// === impl ChainWalk ===

impl ChainWalk {
    /// A verification that starts at the old end of `person`'s chain.
    #[must_use]
    pub fn begin(person: Uuid, ends: &ChainEnds) -> Self {
        Self {
            person,
            number: ends.trimmed_number,
            digest: ends.trimmed_digest.clone(),
            seen: ends.trimmed_number,
            events: 0,
            broken: None,
        }
    }

    /// The id of the chain's person.
    #[must_use]
    pub fn person(&self) -> Uuid {
        self.person
    }

    /// The number of the last event that was passed to [`ChainWalk::take`], intact or not.
    #[must_use]
    pub fn seen(&self) -> i64 {
        self.seen
    }

    /// The number of events that were verified.
    #[must_use]
    pub fn events(&self) -> u64 {
        self.events
    }

    /// Continues with `ends` as they are now. Events that retention trimmed before the verification reached them are
    /// skipped.
    pub fn resume(&mut self, ends: &ChainEnds) {
        if ends.trimmed_number > self.number {
            self.number = ends.trimmed_number;
            self.digest.clone_from(&ends.trimmed_digest);
        }
    }

    /// Verifies the next event. `ends` are from the same snapshot of the database. After the first flaw, events are
    /// ignored.
    pub fn take(&mut self, ends: &ChainEnds, event: &ChainedEvent) {
        self.seen = event.number;
        if self.broken.is_some() {
            return;
        }
        let expected = self.number + 1;
        let flaw = if event.number < expected || event.number > ends.last_number {
            // When an event before it is missing too, that one is the first wrong event.
            Some((event.number.min(expected), Flaw::Inserted))
        } else if event.number > expected {
            Some((expected, Flaw::Missing))
        } else if digest(&self.digest, self.person, event).is_none_or(|digest| digest != *event.digest) {
            Some((expected, Flaw::Changed))
        } else {
            None
        };
        match flaw {
            Some((number, flaw)) => self.broken = Some(Break { number, flaw }),
            None => {
                self.number = expected;
                self.digest.clone_from(&event.digest);
                self.events += 1;
            }
        }
    }

    /// Ends the verification: returns the first broken link, if any.
    #[must_use]
    pub fn end(&self, ends: &ChainEnds) -> Option<Break> {
        self.broken.or_else(|| {
            let (number, flaw) = match self.number {
                number if number < ends.last_number => (number + 1, Flaw::Missing),
                number if number > ends.last_number || self.digest != ends.last_digest => {
                    (number, Flaw::EndChanged)
                }
                _ => return None,
            };
            Some(Break { number, flaw })
        })
    }
}

/// The digest of `event` in `person`'s chain, after the event with the digest `previous`, as the SQL function
/// `identity.audit_digest` computes it. `None` when the event has no finite time.
fn digest(previous: &[u8], person: Uuid, event: &ChainedEvent) -> Option<[u8; 32]> {
    let outcome = if event.refused { "refused" } else { "done" };
    let session = event.session_id.map(|id| id.to_string()).unwrap_or_default();
    let network = event.network_mac.as_deref().map(Hex);
    let line = format!(
        "{person}|{}|{}|{outcome}|{session}|{}|{}|{}",
        event.number,
        event.event,
        network.map(|network| network.to_string()).unwrap_or_default(),
        event.micros?,
        event.service.as_deref().unwrap_or_default(),
    );
    let digest = Sha256::new().chain_update(previous).chain_update(line);
    Some(digest.finalize().into())
}

/// Formats bytes in lower-case hexadecimal.
#[derive(Clone, Copy, Debug)]
pub struct Hex<'a>(pub &'a [u8]);

impl fmt::Display for Hex<'_> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        self.0.iter().try_for_each(|byte| write!(f, "{byte:02x}"))
    }
}

// === impl Flaw ===

impl fmt::Display for Flaw {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(match self {
            Self::Changed => "it was changed, or the digest that it builds on was",
            Self::Missing => "it is missing",
            Self::Inserted => "it was inserted",
            Self::EndChanged => "it is not the stored end of the chain",
            Self::NoEnds => "the stored ends of the chain are missing",
        })
    }
}

/// A digest of the new ends of all chains.
#[derive(Debug, Default)]
pub struct HeadsDigest(Sha256);

impl HeadsDigest {
    /// Adds the next chain. Chains must be added in the order of their persons' ids.
    pub fn take(&mut self, person: Uuid, ends: &ChainEnds) {
        self.0.update(person.as_bytes());
        self.0.update(ends.last_number.to_be_bytes());
        self.0.update(&ends.last_digest);
    }

    /// Returns the SHA-256 digest of the ends that were added.
    #[must_use]
    pub fn finish(self) -> [u8; 32] {
        self.0.finalize().into()
    }
}

#[cfg(test)]
mod tests;
