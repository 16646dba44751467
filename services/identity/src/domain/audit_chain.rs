//! Verification of a person's audit log. Each event's digest covers the event and the digest of the event before it, so an
//! event that was changed, removed or inserted breaks the chain from there on.

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

    /// Continues with `ends` as they are now. Events that retention trimmed before the verification reached them are skipped.
    pub fn resume(&mut self, ends: &ChainEnds) {
        if ends.trimmed_number > self.number {
            self.number = ends.trimmed_number;
            self.digest.clone_from(&ends.trimmed_digest);
        }
    }

    /// Verifies the next event. `ends` are from the same snapshot of the database. After the first flaw, events are ignored.
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

    /// The SHA-256 digest.
    #[must_use]
    pub fn finish(self) -> [u8; 32] {
        self.0.finalize().into()
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    const PERSON: Uuid = Uuid::from_u128(0x0189_0a5d_ac96_774b_bcce_b302_099a_8057);

    fn event(number: i64) -> ChainedEvent {
        ChainedEvent {
            number,
            event: "sign_in".into(),
            refused: number % 2 == 0,
            service: (number % 3 == 0).then(|| "backend".into()),
            session_id: (number % 2 == 1).then(|| Uuid::from_u128(7)),
            network_mac: (number % 3 == 1).then(|| vec![0xab; 32]),
            micros: Some(1_800_000_000_000_000 + number),
            digest: Vec::new(),
        }
    }

    /// A chain of events `trimmed + 1` to `last`.
    fn chain(trimmed: i64, last: i64) -> (ChainEnds, Vec<ChainedEvent>) {
        let mut previous = vec![0; 32];
        let mut trimmed_digest = previous.clone();
        let mut events = Vec::new();
        for number in 1..=last {
            let mut event = event(number);
            event.digest = digest(&previous, PERSON, &event).unwrap().to_vec();
            previous.clone_from(&event.digest);
            if number == trimmed {
                trimmed_digest.clone_from(&previous);
            } else if number > trimmed {
                events.push(event);
            }
        }
        let ends = ChainEnds {
            trimmed_number: trimmed,
            trimmed_digest,
            last_number: last,
            last_digest: previous,
        };
        (ends, events)
    }

    fn verify(ends: &ChainEnds, events: &[ChainedEvent]) -> Option<(i64, Flaw)> {
        let mut walk = ChainWalk::begin(PERSON, ends);
        for event in events {
            walk.take(ends, event);
        }
        walk.end(ends).map(|found| (found.number, found.flaw))
    }

    #[test]
    fn the_digest_is_that_of_the_line() {
        let mut one = event(1);
        one.refused = true;
        one.service = Some("backend".into());
        // printf '…' | sha256sum, with 32 bytes of zero before the line.
        let line = "01890a5d-ac96-774b-bcce-b302099a8057|1|sign_in|refused|00000000-0000-0000-0000-000000000007|\
            abababababababababababababababababababababababababababababababab|1800000000000001|backend";
        let expected: [u8; 32] = Sha256::digest([&[0; 32], line.as_bytes()].concat()).into();
        assert_eq!(digest(&[0; 32], PERSON, &one), Some(expected));
        let nothing = ChainedEvent {
            service: None,
            session_id: None,
            network_mac: None,
            ..one
        };
        let line = "01890a5d-ac96-774b-bcce-b302099a8057|1|sign_in|refused|||1800000000000001|";
        let expected: [u8; 32] = Sha256::digest([&[0; 32], line.as_bytes()].concat()).into();
        assert_eq!(digest(&[0; 32], PERSON, &nothing), Some(expected));
    }

    #[test]
    fn a_whole_chain_holds_also_when_it_was_trimmed() {
        for (trimmed, last) in [(0, 0), (0, 1), (0, 9), (1, 9), (8, 9), (9, 9)] {
            let (ends, events) = chain(trimmed, last);
            assert_eq!(verify(&ends, &events), None, "{trimmed} to {last}");
        }
    }

    #[test]
    fn every_field_of_every_event_counts() {
        let changes: [fn(&mut ChainedEvent); 7] = [
            |event| event.event = "sign_out".into(),
            |event| event.refused = !event.refused,
            |event| event.service = Some("stranger".into()),
            |event| event.session_id = Some(Uuid::from_u128(8)),
            |event| event.network_mac = Some(vec![0xcd; 32]),
            |event| event.micros = Some(1),
            |event| event.micros = None,
        ];
        for change in changes {
            for number in 3..=9 {
                let (ends, mut events) = chain(2, 9);
                change(events.iter_mut().find(|event| event.number == number).unwrap());
                assert_eq!(verify(&ends, &events), Some((number, Flaw::Changed)));
            }
        }
    }

    #[test]
    fn what_is_missing_or_put_in_is_found() {
        let (ends, events) = chain(2, 9);
        for position in 0..events.len() {
            let mut fewer = events.clone();
            let number = fewer.remove(position).number;
            assert_eq!(verify(&ends, &fewer), Some((number, Flaw::Missing)));
        }
        let mut more = events.clone();
        more.push(event(10));
        assert_eq!(verify(&ends, &more), Some((10, Flaw::Inserted)));
        let mut older = events.clone();
        older.insert(0, event(2));
        assert_eq!(verify(&ends, &older), Some((2, Flaw::Inserted)));
        let mut far = events.clone();
        far.push(event(20));
        assert_eq!(verify(&ends, &far), Some((10, Flaw::Inserted)));
        let mut swapped = events;
        swapped.swap(1, 3);
        swapped[1].number = 4;
        swapped[3].number = 6;
        assert_eq!(verify(&ends, &swapped), Some((4, Flaw::Changed)));
    }

    #[test]
    fn the_ends_have_to_fit() {
        let (mut ends, events) = chain(2, 9);
        ends.last_digest = vec![1; 32];
        assert_eq!(verify(&ends, &events), Some((9, Flaw::EndChanged)));
        let (mut ends, events) = chain(2, 9);
        ends.trimmed_digest = vec![1; 32];
        assert_eq!(verify(&ends, &events), Some((3, Flaw::Changed)));
        let (mut ends, events) = chain(2, 9);
        ends.trimmed_number = 3;
        assert_eq!(verify(&ends, &events), Some((3, Flaw::Inserted)));
        let (mut ends, events) = chain(2, 9);
        ends.last_number = 8;
        assert_eq!(verify(&ends, &events), Some((9, Flaw::Inserted)));
        let (mut ends, _) = chain(9, 9);
        ends.last_digest = vec![1; 32];
        assert_eq!(verify(&ends, &[]), Some((9, Flaw::EndChanged)));
    }

    #[test]
    fn what_happens_meanwhile_is_no_flaw() {
        let (early, events) = chain(0, 9);
        // Three events were read; then five were trimmed, and two appended.
        let (late, appended) = chain(5, 11);
        let mut walk = ChainWalk::begin(PERSON, &early);
        events[..3].iter().for_each(|event| walk.take(&early, event));
        walk.resume(&late);
        appended.iter().for_each(|event| walk.take(&late, event));
        assert_eq!(walk.end(&late), None);
        assert_eq!(walk.events(), 9);
    }
}
