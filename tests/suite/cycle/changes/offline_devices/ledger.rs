//! The model: what must hold for all answers of the service.
//!
//! The ledger makes no calls. It records the fate of each change that a device made, and replays the changes in the
//! order of their change numbers on records that have a version, a content and some conflicts.

use std::collections::{BTreeMap, HashMap, HashSet};

use haven_proto::data::v1::{
    ChangeOutcome, ChangeResult, PushChangesRequest, PushMode, ResolveConflictRequest,
    ResolveConflictResponse,
};
use uuid::Uuid;

use super::simulated_device::PendingChange;

/// The expected state of a record.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub(super) struct RecordState {
    /// The record's current version.
    pub(super) version: i64,
    /// The record's content, or `None` when it is deleted.
    pub(super) content: Option<String>,
    /// The open conflicts by id: the base version and the content, or `None` for a deletion.
    pub(super) conflicts: BTreeMap<String, (i64, Option<String>)>,
}

/// Every change that was made, and its fate.
#[derive(Default)]
pub(super) struct Ledger {
    made: usize,
    fates: HashMap<usize, Fate>,
    /// Conflict ids of the deletions that lost.
    deletions: HashSet<String>,
    /// Deletions that repeat a deletion that lost before, and got the same answer.
    repeated: HashSet<usize>,
    /// Purged records: the service keeps only the fact that they were deleted.
    purged: HashSet<Uuid>,
    /// Events by the last of the change numbers that each took.
    events: BTreeMap<i64, Event>,
    /// Results by request id.
    pushes: HashMap<String, Vec<ChangeResult>>,
    /// Answers by request id.
    settlements: HashMap<String, ResolveConflictResponse>,
}

/// The final fate of a change.
#[derive(Clone, Debug, PartialEq, Eq)]
enum Fate {
    /// The change made this version.
    Applied(i64),
    /// The change lost, and is kept as the conflict with this id.
    Lost(String),
    /// The change had no effect: the deletion of a record that was deleted already, or of a change that lost.
    Agreed,
    /// The change arrived after the record was purged, and the device was told so.
    Purged,
}

/// An event in the history of a record.
#[derive(Debug)]
struct Event {
    record: Uuid,
    /// Number of change numbers that the event took.
    numbers: i64,
    kind: EventKind,
}

/// The kind of an event, with what the replay needs.
#[derive(Debug)]
enum EventKind {
    Applied {
        base: i64,
        content_before: Option<String>,
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
    /// Adds a change, and returns its id in the model.
    pub(super) fn add_change(&mut self) -> usize {
        self.made += 1;
        self.made
    }

    /// Notes that a change is not sent, because it would delete a change that lost.
    pub(super) fn withdraw(&mut self, change: &PendingChange) {
        let before = self.fates.insert(change.id, Fate::Agreed);
        assert_eq!(before, None, "{change:?}");
    }

    /// Records the results of a push of the first of `changes`. A retry must have the first answer, unless that was not
    /// final.
    pub(super) fn push(
        &mut self,
        changes: &[PendingChange],
        request: &PushChangesRequest,
        results: &[ChangeResult],
    ) {
        if let Some(before) = self.pushes.get(&request.request_id) {
            return assert_eq!(before, results, "a retry must get the first answer");
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

    /// Records the result of a change if it is final. A final result must never change.
    fn answer(&mut self, change: &PendingChange, result: &ChangeResult, mode: PushMode) {
        let conflict = Some(&result.conflict_id).filter(|id| !id.is_empty());
        let before = self.fates.get(&change.id);
        let is_deletion = change.content.is_none();
        let fate = match (result.outcome(), conflict) {
            (ChangeOutcome::Applied, _) => {
                // An equal deletion lost before, and this one got its answer. That conflict is settled now, or the push
                // is ATOMIC: so this deletion is decided by itself.
                let was_repeated = self.repeated.remove(&change.id);
                assert!(
                    before.is_none() || was_repeated,
                    "applied twice: {change:?} {result:?}"
                );
                Fate::Applied(result.version)
            }
            // Another change of the same device has deleted the record.
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
            // A push that was rolled back leaves no conflict.
            (ChangeOutcome::Conflict | ChangeOutcome::Deleted, None) if mode == PushMode::Atomic => return,
            (ChangeOutcome::Deleted, None) if is_deletion => Fate::Agreed,
            (ChangeOutcome::Deleted, None) if result.version == 0 => Fate::Purged,
            // The change has no fate yet; or its record is purged, and the change has to be encrypted under the newest
            // key.
            _ => {
                let nothing = matches!(before, None | Some(Fate::Purged));
                return assert!(nothing, "{before:?} {change:?} {result:?}");
            }
        };
        if let Some(before) = before.filter(|_| !matches!(fate, Fate::Applied(_))) {
            return assert_eq!(before, &fate, "{change:?} {result:?}");
        }
        let kind = match &fate {
            Fate::Applied(version) => Some(EventKind::Applied {
                base: change.base,
                content_before: change.content_before.clone(),
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
            Fate::Purged => {
                self.purged.insert(change.record);
                None
            }
        };
        // A device that repeats a deletion over the same version gets the first answer.
        let is_repeated = match &fate {
            Fate::Lost(conflict) if is_deletion => !self.deletions.insert(conflict.clone()),
            _ => false,
        };
        if is_repeated {
            self.repeated.insert(change.id);
        }
        if let Some(kind) = kind.filter(|_| !is_repeated) {
            let numbers = if matches!(fate, Fate::Applied(_)) { 1 } else { 2 };
            self.add_event(result.change_number, change.record, numbers, kind);
        }
        self.fates.insert(change.id, fate);
    }

    /// Records that `request` settled conflicts. `content` is the record's new content, or `None` when it was not
    /// changed.
    pub(super) fn settle(
        &mut self,
        request: &ResolveConflictRequest,
        answer: &ResolveConflictResponse,
        content: Option<Option<String>>,
    ) {
        if let Some(before) = self.settlements.get(&request.request_id) {
            return assert_eq!(before, answer, "a retry must get the first answer");
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
        self.add_event(
            record.change_number,
            record.record_id.parse().unwrap(),
            numbers,
            kind,
        );
    }

    /// Returns whether a record was answered to be purged.
    pub(super) fn is_purged(&self, record: Uuid) -> bool {
        self.purged.contains(&record)
    }

    /// Returns every record that has an event.
    pub(super) fn records(&self) -> HashSet<Uuid> {
        self.events.values().map(|event| event.record).collect()
    }

    /// Adds an event under the last of the change numbers that it took.
    fn add_event(&mut self, number: i64, record: Uuid, numbers: i64, kind: EventKind) {
        assert!(!self.is_purged(record), "a change of a purged record: {kind:?}");
        let event = Event {
            record,
            numbers,
            kind,
        };
        let previous = self.events.insert(number, event);
        assert!(previous.is_none(), "{number} was given out twice: {previous:?}");
    }

    /// Replays all events, and returns the expected state of each record. Every change must be in it, or in its
    /// history, or a conflict.
    pub(super) fn replayed(&self) -> HashMap<Uuid, RecordState> {
        for made in 1..=self.made {
            assert!(self.fates.contains_key(&made), "change {made} is lost");
        }
        let mut records = HashMap::<Uuid, RecordState>::new();
        let mut last = 0;
        for (number, event) in &self.events {
            assert_eq!(last + event.numbers, *number, "a gap before {event:?}");
            last = *number;
            let held = records.entry(event.record).or_default();
            match &event.kind {
                EventKind::Applied {
                    base,
                    content_before,
                    version,
                    content,
                } => {
                    assert_eq!((held.version, base + 1), (*base, *version), "{event:?}");
                    // A device that writes over a version has seen its content. A write over a tombstone does not bring
                    // the record back.
                    assert_eq!(held.content, *content_before, "{event:?}");
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
        for record in &self.purged {
            let held = &records[record];
            assert_eq!(
                (&held.content, held.conflicts.len()),
                (&None, 0),
                "the record is purged: {held:?}"
            );
        }
        records
    }
}
