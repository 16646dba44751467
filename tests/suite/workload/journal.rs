//! The journal: every mutation that a workload called, with its times, its outcome, and what it changes.

use std::{
    collections::{BTreeMap, BTreeSet},
    sync::{Mutex, MutexGuard, PoisonError},
    time::{Duration, SystemTime},
};

use uuid::Uuid;

/// The kind of something that a mutation changes.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub(crate) enum Kind {
    /// The person themselves, from SignUp to DeleteAccount.
    Person,
    Account,
    Password,
    Consent,
    Message,
    Analysis,
    Record,
    Conflict,
    Preferences,
    Device,
    Share,
}

/// Something that mutations change: it has one state at a time, and one row at most.
#[derive(Clone, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub(crate) struct Object {
    /// The name of the owner, which the workload chose. See [`Call::person`].
    pub(crate) person: Uuid,
    pub(crate) kind: Kind,
    /// The name of the object among those of its kind and its owner, which the workload chose. Empty where an owner has one.
    pub(crate) name: String,
}

/// The state of an object: its version, which is 0 where the contract has none, and its content, which no other state has.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(crate) struct State {
    pub(crate) version: i64,
    pub(crate) content: String,
}

/// A change of one object. `after` is `None` when it is gone afterwards.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(crate) struct Change {
    pub(crate) object: Object,
    pub(crate) after: Option<State>,
}

/// The outcome of a call after its retries.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(crate) enum Outcome {
    /// The call is not answered yet, or the workload ended before. It may have taken effect.
    Open,
    /// The service acknowledged the call.
    Acknowledged(SystemTime),
    /// The service refused the call for this reason. It has no effect.
    Refused(String),
    /// The retries ended without an answer, or with a failure that does not tell. It may have taken effect.
    Unknown(String),
}

/// What the answer to a call tells, for the verification.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(crate) enum Fact {
    /// The id of a new account.
    UserId(Uuid),
    /// The id of a new session.
    Session(Uuid),
    /// The id of a requested analysis job.
    Job(Uuid),
    /// A lease: the job, and the token of the lease.
    Lease(String, String),
}

/// A mutation that was called.
#[derive(Clone, Debug)]
pub(crate) struct Call {
    /// The name of the person that is called for. It is part of their email address and of everything that they store, and
    /// known before the account has an id. Nil for a call of a worker that is for no person.
    pub(crate) person: Uuid,
    /// The method, such as `AppendMessage`.
    pub(crate) rpc: &'static str,
    /// The request id. `None` where the request has none.
    pub(crate) request_id: Option<Uuid>,
    /// The wall-clock time before the first attempt.
    pub(crate) asked: SystemTime,
    /// The wall-clock time before the last attempt.
    pub(crate) last_attempt: SystemTime,
    /// The number of attempts so far.
    pub(crate) attempts: u32,
    pub(crate) outcome: Outcome,
    pub(crate) changes: Vec<Change>,
    pub(crate) facts: Vec<Fact>,
}

/// The counts of reads, and what was wrong with what they returned.
#[derive(Clone, Debug, Default)]
pub(crate) struct Reads {
    /// The number of successful reads.
    pub(crate) done: u64,
    /// The number of attempts of reads that were retried.
    pub(crate) retried: u64,
    /// The number of reads by the reason for which they failed after all retries.
    pub(crate) failed: BTreeMap<String, u64>,
    /// What a read returned that belongs to another person, or that the caller never stored.
    pub(crate) foreign: Vec<String>,
    /// What a read returned that is older than what was acknowledged before it.
    pub(crate) stale: Vec<String>,
}

/// The calls of a workload in the order in which they were asked. Threads share it.
#[derive(Default)]
pub(crate) struct Journal {
    calls: Mutex<Vec<Call>>,
    reads: Mutex<Reads>,
    /// The ids of requests and sessions of verifications, which are no calls of the workload.
    verifications: Mutex<BTreeSet<Uuid>>,
}

// === impl Object ===

impl Object {
    pub(crate) fn new(person: Uuid, kind: Kind, name: impl ToString) -> Self {
        Self {
            person,
            kind,
            name: name.to_string(),
        }
    }

    /// Returns the change of this object to a version with a content.
    pub(crate) fn becomes(self, version: i64, content: impl Into<String>) -> Change {
        let content = content.into();
        Change {
            object: self,
            after: Some(State { version, content }),
        }
    }

    /// Returns the change that removes this object.
    pub(crate) fn goes(self) -> Change {
        Change {
            object: self,
            after: None,
        }
    }
}

// === impl Call ===

impl Call {
    /// Returns the time of the acknowledgement, if there was one.
    pub(crate) fn acknowledged(&self) -> Option<SystemTime> {
        match self.outcome {
            Outcome::Acknowledged(time) => Some(time),
            _ => None,
        }
    }
}

// === impl Journal ===

impl Journal {
    /// Returns the calls.
    pub(crate) fn calls(&self) -> MutexGuard<'_, Vec<Call>> {
        self.calls.lock().unwrap_or_else(PoisonError::into_inner)
    }

    /// Returns the counts of reads.
    pub(crate) fn reads(&self) -> MutexGuard<'_, Reads> {
        self.reads.lock().unwrap_or_else(PoisonError::into_inner)
    }

    /// Returns the ids of requests and sessions of verifications so far.
    pub(super) fn verifications(&self) -> MutexGuard<'_, BTreeSet<Uuid>> {
        self.verifications.lock().unwrap_or_else(PoisonError::into_inner)
    }

    /// Returns the number of acknowledged calls.
    pub(crate) fn acknowledged(&self) -> usize {
        let calls = self.calls();
        calls.iter().filter(|call| call.acknowledged().is_some()).count()
    }

    /// Returns the time from `fault` to the first acknowledgement of a call of which an attempt began after `fault`. `None`
    /// when there is none yet.
    pub(crate) fn first_success_after(&self, fault: SystemTime) -> Option<Duration> {
        let calls = self.calls();
        let after = calls.iter().filter(|call| call.last_attempt >= fault);
        let first = after.filter_map(Call::acknowledged).min()?;
        first.duration_since(fault).ok()
    }

    /// Returns the longest time without any acknowledgement between `from` and `until`.
    pub(crate) fn longest_gap(&self, from: SystemTime, until: SystemTime) -> Duration {
        let mut times: Vec<_> = self.calls().iter().filter_map(Call::acknowledged).collect();
        times.retain(|time| (from..=until).contains(time));
        times.extend([from, until]);
        times.sort_unstable();
        let gaps = times
            .windows(2)
            .filter_map(|pair| pair[1].duration_since(pair[0]).ok());
        gaps.max().unwrap_or_default()
    }
}
