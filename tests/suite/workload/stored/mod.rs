//! What is stored: what the services return to each person, who signs in again.

mod reader;

use std::collections::{BTreeMap, BTreeSet};

use futures_util::{StreamExt, stream};
use haven_testkit::endpoints::Endpoints;
use uuid::Uuid;

use self::reader::Reader;
use super::{
    email,
    expectation::Expectation,
    findings::Findings,
    journal::{Journal, Kind, Object, State},
    rows::Rows,
};

/// The number of people that are read at the same time.
const AT_ONCE: usize = 8;

/// Whether a person is there.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Presence {
    /// There is neither an account nor a receipt.
    Absent,
    /// There is an account.
    Present,
    /// There is a receipt of the erasure in both schemas.
    Erased,
}

/// What is stored of the workload's people.
#[derive(Default)]
pub(super) struct Stored {
    pub(super) presences: BTreeMap<Uuid, Presence>,
    /// The rows of each object.
    pub(super) objects: BTreeMap<Object, Vec<State>>,
    /// The people who have no password, so that nothing can be read as them: an undo was not followed by a reset yet.
    pub(super) without_password: BTreeSet<Uuid>,
}

// === impl Stored ===

impl Stored {
    /// Reads what is stored. Panics when the services do not answer.
    pub(super) async fn read(
        journal: &Journal,
        endpoints: &Endpoints,
        rows: &Rows,
        expectation: &Expectation,
        findings: &mut Findings,
    ) -> Self {
        let mut stored = Self::default();
        let ids = rows.ids(&journal.calls());
        let people = expectation
            .objects
            .keys()
            .filter(|object| object.kind == Kind::Person);
        for name in people.map(|object| object.person) {
            let is_erased = ids.get(&name).is_some_and(|id| rows.erased.contains(id));
            let presence = if rows.accounts.contains_key(&email(name)) {
                Presence::Present
            } else if is_erased {
                Presence::Erased
            } else {
                Presence::Absent
            };
            stored.presences.insert(name, presence);
        }
        let own = Journal::default();
        let present = stored
            .presences
            .iter()
            .filter(|(_, presence)| **presence == Presence::Present);
        let readers = present.map(|(name, _)| {
            let id = rows.accounts[&email(*name)];
            let reader = Reader::new(endpoints, &own, *name, &rows.emails[&id]);
            reader.read(journal, id, rows.people.contains(&id), expectation)
        });
        let read: Vec<_> = stream::iter(readers).buffer_unordered(AT_ONCE).collect().await;
        for reader in read {
            if reader.has_no_password {
                stored.without_password.insert(reader.name);
            }
            findings.foreign.extend(reader.foreign);
            for (object, state) in reader.found {
                stored.objects.entry(object).or_default().push(state);
            }
        }
        stored
    }

    /// Returns whether a person is there.
    pub(super) fn presence(&self, person: Uuid) -> Presence {
        self.presences.get(&person).copied().unwrap_or(Presence::Absent)
    }
}
