//! Each kind of defect is found, and what is allowed is not.

use std::time::Duration;

use haven_testkit::random;

use super::*;
use crate::workload::journal::Change;

/// Builds the calls of one person, and what is stored of them. One second lies between two calls.
struct Case {
    person: Uuid,
    calls: Vec<Call>,
    stored: Stored,
}

impl Case {
    /// A person who signed up.
    fn new() -> Self {
        let person = random::uuid();
        let mut case = Self {
            person,
            calls: Vec::new(),
            stored: Stored::default(),
        };
        case.stored.presences.insert(person, Presence::Present);
        case.acknowledge(Kind::Person, Some(0));
        case
    }

    fn state(version: i64) -> State {
        let content = format!("content {version}");
        State { version, content }
    }

    fn second(number: usize) -> SystemTime {
        SystemTime::UNIX_EPOCH + Duration::from_secs(number as u64)
    }

    /// Adds a call that changes the object of this kind to a version, or removes it.
    fn call(&mut self, kind: Kind, version: Option<i64>, outcome: Outcome) {
        let object = Object::new(self.person, kind, "");
        let asked = Self::second(self.calls.len());
        self.calls.push(Call {
            person: self.person,
            rpc: "Any",
            request_id: None,
            asked,
            last_attempt: asked,
            attempts: 1,
            outcome,
            changes: vec![Change {
                object,
                after: version.map(Self::state),
            }],
            facts: Vec::new(),
        });
    }

    /// Adds such a call that is acknowledged half a second later.
    fn acknowledge(&mut self, kind: Kind, version: Option<i64>) {
        let time = Self::second(self.calls.len()) + Duration::from_millis(500);
        self.call(kind, version, Outcome::Acknowledged(time));
    }

    fn store(&mut self, kind: Kind, versions: &[i64]) {
        let states = versions.iter().copied().map(Self::state).collect();
        let object = Object::new(self.person, kind, "");
        self.stored.objects.insert(object, states);
    }

    /// Returns the numbers of lost, doubled and later changes.
    fn found(&self, as_of: Option<SystemTime>) -> (usize, usize, usize) {
        let mut findings = Findings::default();
        Expectation::new(&self.calls, as_of).compare(&self.stored, &mut findings);
        (findings.lost.len(), findings.doubled.len(), findings.later.len())
    }
}

#[test]
fn an_acknowledged_change_must_be_stored_once() {
    let mut case = Case::new();
    case.acknowledge(Kind::Message, Some(1));
    case.acknowledge(Kind::Message, Some(2));
    for (stored, found) in [
        (&[2][..], (0, 0, 0)),
        // The update is lost; the message is lost; the update was applied twice; the message was appended twice.
        (&[1], (1, 0, 0)),
        (&[], (1, 0, 0)),
        (&[3], (0, 1, 0)),
        (&[2, 2], (0, 1, 0)),
    ] {
        case.store(Kind::Message, stored);
        assert_eq!(case.found(None), found, "{stored:?}");
    }
}

#[test]
fn a_deleted_object_must_be_gone() {
    let mut case = Case::new();
    case.acknowledge(Kind::Message, Some(1));
    case.acknowledge(Kind::Message, None);
    assert_eq!(case.found(None), (0, 0, 0));
    case.store(Kind::Message, &[1]);
    assert_eq!(case.found(None), (1, 0, 0), "the deletion is lost");
}

#[test]
fn a_change_of_unknown_outcome_may_be_stored_once_and_a_refused_one_may_not() {
    let mut case = Case::new();
    case.acknowledge(Kind::Record, Some(1));
    case.call(Kind::Record, Some(2), Outcome::Unknown(String::new()));
    for (stored, found) in [
        (&[1][..], (0, 0, 0)),
        (&[2], (0, 0, 0)),
        (&[3], (0, 1, 0)),
        (&[], (1, 0, 0)),
    ] {
        case.store(Kind::Record, stored);
        assert_eq!(case.found(None), found, "{stored:?}");
    }
    case.calls.last_mut().unwrap().outcome = Outcome::Refused(String::new());
    case.store(Kind::Record, &[2]);
    assert_eq!(case.found(None), (0, 1, 0));
}

#[test]
fn a_row_that_no_call_made_is_found() {
    let mut case = Case::new();
    case.store(Kind::Share, &[1]);
    assert_eq!(case.found(None), (0, 1, 0));
}

#[test]
fn a_restored_database_ends_with_what_was_acknowledged_before_its_time() {
    let mut case = Case::new();
    for version in 1..=3 {
        case.acknowledge(Kind::Preferences, Some(version));
    }
    // Call 2 was asked at second 2, and acknowledged half a second later.
    let [before, during, after] =
        [1_900, 2_200, 2_700].map(|time| Case::second(0) + Duration::from_millis(time));
    for (as_of, stored, found) in [
        (before, &[1][..], (0, 0, 0)),
        (before, &[2], (0, 0, 1)),
        (during, &[1], (0, 0, 0)),
        (during, &[2], (0, 0, 0)),
        (during, &[3], (0, 0, 1)),
        (after, &[1], (1, 0, 0)),
        (after, &[2], (0, 0, 0)),
    ] {
        case.store(Kind::Preferences, stored);
        assert_eq!(case.found(Some(as_of)), found, "{stored:?} as of {as_of:?}");
    }
}

#[test]
fn people_are_there_until_they_delete_their_account_and_then_have_a_receipt() {
    let mut case = Case::new();
    let signed_up = Some(Case::second(0) + Duration::from_millis(900));
    let earlier = Some(Case::second(0));
    let presence = |case: &mut Case, presence| case.stored.presences.insert(case.person, presence);
    for (found, is) in [
        ((0, 0, 0), Presence::Present),
        ((1, 0, 0), Presence::Absent),
        ((0, 1, 0), Presence::Erased),
    ] {
        presence(&mut case, is);
        assert_eq!(case.found(None), found, "{is:?}");
    }
    case.calls[0].asked += Duration::from_millis(100);
    presence(&mut case, Presence::Present);
    assert_eq!(
        case.found(earlier),
        (0, 0, 1),
        "signed up after the time of the restore"
    );

    case.acknowledge(Kind::Person, None);
    for (as_of, found, is) in [
        (None, (1, 0, 0), Presence::Present),
        (None, (1, 0, 0), Presence::Absent),
        (None, (0, 0, 0), Presence::Erased),
        // Erased after the time of the restore: they are there again, or the erasure was replayed.
        (signed_up, (0, 0, 0), Presence::Present),
        (signed_up, (0, 0, 0), Presence::Erased),
        (signed_up, (1, 0, 0), Presence::Absent),
    ] {
        presence(&mut case, is);
        assert_eq!(case.found(as_of), found, "{is:?} as of {as_of:?}");
    }
}

#[test]
fn what_cannot_be_read_without_a_password_is_not_lost() {
    let mut case = Case::new();
    case.acknowledge(Kind::Message, Some(1));
    case.acknowledge(Kind::Password, None);
    assert_eq!(case.found(None), (1, 0, 0));
    case.stored.without_password.insert(case.person);
    assert_eq!(case.found(None), (0, 0, 0));
}
