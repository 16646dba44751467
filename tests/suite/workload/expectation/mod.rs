//! The states that may be stored, as the journal tells, and the comparison with what is stored.

#[cfg(test)]
mod tests;

use std::{collections::BTreeMap, time::SystemTime};

use uuid::Uuid;

use super::{
    findings::Findings,
    journal::{Call, Kind, Object, Outcome, State},
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
            } else if stored.presence(object.person) == Presence::Present
                && !stored.without_password.contains(&object.person)
            {
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
