//! The states that may be stored, as the journal tells, and the comparison with what is stored.

use std::{collections::BTreeMap, time::SystemTime};

use uuid::Uuid;

use super::{
    journal::{Call, Kind, Object, Outcome, State},
    report::Findings,
    stored::{Presence, Stored},
};

/// The states of one object, by the changes that were asked for.
#[derive(Debug)]
pub(super) struct History {
    /// The state before the first change, and after each.
    states: Vec<Option<State>>,
    /// The index of the first state that may be stored.
    first: usize,
    /// The index of the last state that may be stored.
    last: usize,
}

/// The histories of all objects.
#[derive(Debug)]
pub(super) struct Expectation {
    pub(super) objects: BTreeMap<Object, History>,
}

// === impl History ===

impl History {
    /// Returns the states that may be stored, the newest first.
    pub(super) fn allowed(&self) -> impl Iterator<Item = &Option<State>> {
        self.states[self.first..=self.last].iter().rev()
    }

    /// Returns all states, those that may be stored first.
    pub(super) fn all(&self) -> impl Iterator<Item = &Option<State>> {
        self.allowed().chain(&self.states)
    }

    /// Compares the state with the rows that are stored, and adds what is wrong to `findings`.
    fn compare(&self, object: &Object, rows: &[State], findings: &mut Findings) {
        let what = |problem: &str| {
            let allowed: Vec<_> = self.allowed().collect();
            format!("{object:?}: {problem}; stored {rows:?}, allowed {allowed:?}")
        };
        if rows.len() > 1 {
            return findings.doubled.push(what("more than one row"));
        }
        let stored = rows.first().cloned();
        if self.allowed().any(|state| *state == stored) {
            return;
        }
        if self.states[..self.first].contains(&stored) {
            return findings.lost.push(what("an older state than acknowledged"));
        }
        if self.states[self.last + 1..].contains(&stored) {
            return findings.later.push(what("a state that was asked for afterwards"));
        }
        match stored {
            None => findings.lost.push(what("no row")),
            Some(_) => findings.doubled.push(what("a state that no call makes")),
        }
    }
}

// === impl Expectation ===

impl Expectation {
    /// Derives the histories from the calls. With `as_of`, a later acknowledgement is none, and what was asked later may not
    /// be stored.
    ///
    /// The changes of one object are asked one after the other, and a later one that took effect proves the earlier ones.
    pub(super) fn new(calls: &[Call], as_of: Option<SystemTime>) -> Self {
        let mut objects = BTreeMap::<Object, History>::new();
        for call in calls {
            if matches!(call.outcome, Outcome::Refused(_)) {
                continue;
            }
            for change in &call.changes {
                let history = objects.entry(change.object.clone()).or_insert(History {
                    states: vec![None],
                    first: 0,
                    last: 0,
                });
                history.states.push(change.after.clone());
                let number = history.states.len() - 1;
                if is_before(call.acknowledged(), as_of) {
                    history.first = number;
                }
                if is_before(Some(call.asked), as_of) {
                    history.last = number;
                }
            }
        }
        Self { objects }
    }

    /// Returns the history of an object.
    pub(super) fn of(&self, person: Uuid, kind: Kind) -> Option<&History> {
        self.objects.get(&Object::new(person, kind, ""))
    }

    /// Compares everything with what is stored.
    pub(super) fn compare(&self, stored: &Stored, findings: &mut Findings) {
        let nothing = Vec::new();
        for (object, history) in &self.objects {
            if object.kind == Kind::Person {
                self.compare_person(object.person, history, stored, findings);
            } else if stored.presence(object.person) == Presence::Present {
                let rows = stored.objects.get(object).unwrap_or(&nothing);
                history.compare(object, rows, findings);
            }
        }
        for (object, rows) in &stored.objects {
            if !self.objects.contains_key(object) {
                findings
                    .doubled
                    .push(format!("{object:?}: no call made {rows:?}"));
            }
        }
    }

    fn compare_person(&self, person: Uuid, history: &History, stored: &Stored, findings: &mut Findings) {
        let presence = stored.presence(person);
        let what = |problem: &str| format!("person {person}: {problem}, and is {presence:?}");
        let may_be_there = history.allowed().any(Option::is_some);
        let was_asked_to_go = history.states[1..].iter().any(Option::is_none);
        match presence {
            Presence::Present if may_be_there => {}
            Presence::Present if history.first > 0 => findings.lost.push(what("was erased")),
            Presence::Present => findings.later.push(what("signed up afterwards")),
            // Erasures are replayed after a restore.
            Presence::Erased if was_asked_to_go => {}
            Presence::Erased => findings.doubled.push(what("no call deletes the account")),
            Presence::Absent => match history.first {
                0 => {}
                1 => findings.lost.push(what("signed up")),
                _ => findings.lost.push(what("was erased, with a receipt")),
            },
        }
    }
}

/// Returns `true` when `time` is before `as_of`, or there is no limit.
pub(super) fn is_before(time: Option<SystemTime>, as_of: Option<SystemTime>) -> bool {
    time.is_some_and(|time| as_of.is_none_or(|limit| time <= limit))
}

#[cfg(test)]
mod tests {
    use std::time::Duration;

    use haven_testkit::random;

    use super::*;

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
                changes: vec![super::super::journal::Change {
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
}
