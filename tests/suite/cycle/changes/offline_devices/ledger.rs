//! What has to be true of everything that was answered: the model.
//!
//! It does nothing by itself. It keeps what became of each change that a device made, and plays it again in the order of
//! the change numbers, on records that are a version, a content and some conflicts.

use std::collections::{BTreeMap, HashMap, HashSet};

use haven_proto::data::v1::{
    ChangeOutcome, ChangeResult, PushChangesRequest, PushMode, ResolveConflictRequest,
    ResolveConflictResponse,
};
use uuid::Uuid;

use super::simulated_device::Pending;

/// A record: what there is of it.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub(super) struct Held {
    /// Its version.
    pub(super) version: i64,
    /// What it says. None: it is deleted.
    pub(super) content: Option<String>,
    /// What lost and is open, by its id: the version that it is based on, and what it says.
    pub(super) conflicts: BTreeMap<String, (i64, Option<String>)>,
}

/// Every change that was made, and what became of it.
#[derive(Default)]
pub(super) struct Ledger {
    made: usize,
    fates: HashMap<usize, Fate>,
    /// The deletions that lost, by the ids of their conflicts.
    deletions: HashSet<String>,
    /// The deletions that say what one says that lost before, and were answered as that one was.
    repeated: HashSet<usize>,
    /// The records of which nothing is kept any more but that they were deleted.
    gone: HashSet<Uuid>,
    /// By the last of the numbers that each took.
    events: BTreeMap<i64, Event>,
    /// By request id.
    pushes: HashMap<String, Vec<ChangeResult>>,
    /// By request id.
    settlements: HashMap<String, ResolveConflictResponse>,
}

/// What became of a change, for ever.
#[derive(Clone, Debug, PartialEq, Eq)]
enum Fate {
    /// It made this version.
    Applied(i64),
    /// It is kept as this conflict.
    Lost(String),
    /// It was to delete what was deleted, or what lost.
    Agreed,
    /// It came after everything about its record was forgotten, and whoever made it was told.
    Gone,
}

/// What happened to a record.
#[derive(Debug)]
struct Event {
    record: Uuid,
    /// How many numbers it took.
    numbers: i64,
    kind: EventKind,
}

#[derive(Debug)]
enum EventKind {
    Applied {
        base: i64,
        over: Option<String>,
        version: i64,
        content: Option<String>,
    },
    Lost {
        conflict: String,
        base: i64,
        against: i64,
        content: Option<String>,
    },
    Settled {
        conflicts: Vec<String>,
        base: i64,
        version: i64,
        content: Option<Option<String>>,
    },
}

impl Ledger {
    /// A change is made. Answers what it is known by.
    pub(super) fn make(&mut self) -> usize {
        self.made += 1;
        self.made
    }

    /// A change is not sent at all: it was to delete what lost.
    pub(super) fn withdraw(&mut self, change: &Pending) {
        let before = self.fates.insert(change.made, Fate::Agreed);
        assert_eq!(before, None, "{change:?}");
    }

    /// What became of a push of the first of `changes`. A retry is answered as the first, unless nothing came of that.
    pub(super) fn push(
        &mut self,
        changes: &[Pending],
        request: &PushChangesRequest,
        results: &[ChangeResult],
    ) {
        if let Some(before) = self.pushes.get(&request.request_id) {
            return assert_eq!(before, results, "a retry is answered as the first");
        }
        for (change, result) in changes.iter().zip(results) {
            assert_eq!(change.record.to_string(), result.record_id);
            self.answer(change, result, request.mode());
        }
        let applied = |result: &ChangeResult| {
            matches!(
                result.outcome(),
                ChangeOutcome::Applied | ChangeOutcome::AlreadyApplied
            )
        };
        if request.mode() == PushMode::Independent || results.iter().all(applied) {
            self.pushes.insert(request.request_id.clone(), results.to_vec());
        }
    }

    /// What became of a change, as far as it was decided: what was answered once is so for ever.
    fn answer(&mut self, change: &Pending, result: &ChangeResult, mode: PushMode) {
        let conflict = Some(&result.conflict_id).filter(|id| !id.is_empty());
        let before = self.fates.get(&change.made);
        let is_deletion = change.content.is_none();
        let fate = match (result.outcome(), conflict) {
            (ChangeOutcome::Applied, _) => {
                // It was answered as one that says the same and had lost. That is settled, or it does not matter where all
                // is to stand together: so this one is looked at for itself.
                let anew = self.repeated.remove(&change.made);
                assert!(before.is_none() || anew, "applied twice: {change:?} {result:?}");
                Fate::Applied(result.version)
            }
            // It is deleted by another change of the same device.
            (ChangeOutcome::AlreadyApplied, _) if is_deletion && before.is_none() => Fate::Agreed,
            (ChangeOutcome::AlreadyApplied, _) if before == Some(&Fate::Agreed) => return,
            (ChangeOutcome::AlreadyApplied, _) => {
                assert_eq!(
                    before,
                    Some(&Fate::Applied(result.version)),
                    "{change:?} {result:?}"
                );
                return;
            }
            (ChangeOutcome::Conflict | ChangeOutcome::Deleted, Some(id)) => Fate::Lost(id.clone()),
            // Of a push that is taken back nothing is kept.
            (ChangeOutcome::Conflict | ChangeOutcome::Deleted, None) if mode == PushMode::Atomic => return,
            (ChangeOutcome::Deleted, None) if is_deletion => Fate::Agreed,
            (ChangeOutcome::Deleted, None) if result.version == 0 => Fate::Gone,
            // Nothing became of it yet; or it is gone, of which nothing is kept, and has to be under the key of today.
            _ => {
                let nothing = matches!(before, None | Some(Fate::Gone));
                return assert!(nothing, "{before:?} {change:?} {result:?}");
            }
        };
        if let Some(before) = before.filter(|_| !matches!(fate, Fate::Applied(_))) {
            return assert_eq!(before, &fate, "{change:?} {result:?}");
        }
        let kind = match &fate {
            Fate::Applied(version) => Some(EventKind::Applied {
                base: change.base,
                over: change.over.clone(),
                version: *version,
                content: change.content.clone(),
            }),
            Fate::Lost(conflict) => Some(EventKind::Lost {
                conflict: conflict.clone(),
                base: change.base,
                against: result.version,
                content: change.content.clone(),
            }),
            Fate::Agreed => None,
            Fate::Gone => {
                self.gone.insert(change.record);
                None
            }
        };
        // A device that deletes what it deleted before, over the same version, is answered as it was then.
        let known = match &fate {
            Fate::Lost(conflict) if is_deletion => !self.deletions.insert(conflict.clone()),
            _ => false,
        };
        if known {
            self.repeated.insert(change.made);
        }
        if let Some(kind) = kind.filter(|_| !known) {
            let numbers = if matches!(fate, Fate::Applied(_)) { 1 } else { 2 };
            self.happen(result.change_number, change.record, numbers, kind);
        }
        self.fates.insert(change.made, fate);
    }

    /// Conflicts are settled by `request`; `content` is what the record became by it, if it became anything else.
    pub(super) fn settle(
        &mut self,
        request: &ResolveConflictRequest,
        answer: &ResolveConflictResponse,
        content: Option<Option<String>>,
    ) {
        if let Some(before) = self.settlements.get(&request.request_id) {
            return assert_eq!(before, answer, "a retry is answered as the first");
        }
        self.settlements
            .insert(request.request_id.clone(), answer.clone());
        let record = answer.record.as_ref().unwrap();
        let kind = EventKind::Settled {
            conflicts: request.conflict_ids.clone(),
            base: request.expected_version,
            version: record.version,
            content,
        };
        let numbers = request.conflict_ids.len() as i64 + 1;
        self.happen(
            record.change_number,
            record.record_id.parse().unwrap(),
            numbers,
            kind,
        );
    }

    /// Whether a record was answered to be gone.
    pub(super) fn is_gone(&self, record: Uuid) -> bool {
        self.gone.contains(&record)
    }

    /// Every record that something ever became of.
    pub(super) fn records(&self) -> HashSet<Uuid> {
        self.events.values().map(|event| event.record).collect()
    }

    fn happen(&mut self, number: i64, record: Uuid, numbers: i64, kind: EventKind) {
        assert!(!self.is_gone(record), "it is gone, and comes back: {kind:?}");
        let event = Event {
            record,
            numbers,
            kind,
        };
        let taken = self.events.insert(number, event);
        assert!(taken.is_none(), "{number} is the number of two: {taken:?}");
    }

    /// What there has to be of each record. Everything that was made is in it, or was once, or is a conflict.
    pub(super) fn replayed(&self) -> HashMap<Uuid, Held> {
        for made in 1..=self.made {
            assert!(self.fates.contains_key(&made), "change {made} is lost");
        }
        let mut records = HashMap::<Uuid, Held>::new();
        let mut last = 0;
        for (number, event) in &self.events {
            assert_eq!(last + event.numbers, *number, "a gap before {event:?}");
            last = *number;
            let held = records.entry(event.record).or_default();
            match &event.kind {
                EventKind::Applied {
                    base,
                    over,
                    version,
                    content,
                } => {
                    assert_eq!((held.version, base + 1), (*base, *version), "{event:?}");
                    // Whoever made it saw what it replaces. What is deleted is not brought back by it.
                    assert_eq!(held.content, *over, "{event:?}");
                    assert!(
                        held.content.is_some() || *base == 0,
                        "over a tombstone: {event:?}"
                    );
                    (held.version, held.content) = (*version, content.clone());
                }
                EventKind::Lost {
                    conflict,
                    base,
                    against,
                    content,
                } => {
                    assert_eq!(held.version, *against, "{event:?}");
                    assert!(held.version > 0, "{event:?}");
                    held.conflicts.insert(conflict.clone(), (*base, content.clone()));
                }
                EventKind::Settled {
                    conflicts,
                    base,
                    version,
                    content,
                } => {
                    assert_eq!(held.version, *base, "{event:?}");
                    for conflict in conflicts {
                        let open = held.conflicts.remove(conflict);
                        assert!(open.is_some(), "settled and not open: {event:?}");
                    }
                    match content {
                        Some(content) => {
                            assert_eq!(*version, base + 1, "{event:?}");
                            (held.version, held.content) = (*version, content.clone());
                        }
                        None => assert_eq!(version, base, "{event:?}"),
                    }
                }
            }
        }
        for record in &self.gone {
            let held = &records[record];
            assert_eq!(
                (&held.content, held.conflicts.len()),
                (&None, 0),
                "it is gone: {held:?}"
            );
        }
        records
    }
}
