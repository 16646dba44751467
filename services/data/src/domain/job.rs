//! Analysis jobs: ranges of a person's messages that workers analyse.

use std::time::Duration;

use chrono::{DateTime, Utc};
use haven_platform::call::UserId;
use uuid::Uuid;

use super::{
    error_code::ErrorCode,
    lease::{Lease, LeaseToken},
    message::{MessageRange, SealedMessage},
    retry_delay::RETRY_DELAYS,
};

/// The number of a person's own messages after which a job is created for them. The schema has the number too: its
/// counter of pending messages goes up to one less.
pub const MESSAGES_PER_JOB: i16 = 25;

/// The priority of a job that its person requested; jobs of a higher priority are leased first.
pub const PRIORITY_REQUESTED: i16 = 1;
/// The priority of a job that was created by the 25th message.
pub const PRIORITY_AUTOMATIC: i16 = 0;

/// The state of a job.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum JobState {
    /// The job waits for a worker.
    Queued,
    /// A worker has leased the job.
    Leased,
    /// A worker completed the job.
    Done,
    /// All attempts failed, or too many leases were lost. Only RequeueJob gives the job more.
    Dead,
}

/// The reason for which a job is dead.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum DeathCause {
    /// The job failed in all its attempts: by FailJob, by messages that cannot be opened, or by a lease that its worker
    /// extended and then let expire.
    FailedAttempts,
    /// Too many leases were lost: they ended without a call of their worker, so it probably died.
    LostLeases,
}

/// A job, as its person sees it.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Job {
    /// The job's id, unique among its person's jobs. The analysis that results from the job has the same id.
    pub id: Uuid,
    /// The messages that the job covers.
    pub range: MessageRange,
    /// The state of the job in the queue.
    pub state: JobState,
    /// The time at which the job was created.
    pub created_at: DateTime<Utc>,
}

/// A job to create, if there are messages to analyse (RequestAnalysis).
#[derive(Clone, Copy, Debug)]
pub struct NewJob {
    /// The job's id, unique among its person's jobs.
    pub id: Uuid,
    /// The time at which the job is created.
    pub created_at: DateTime<Utc>,
}

/// A dead job, as operators see it.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct DeadJob {
    /// The person that the covered messages belong to.
    pub person: UserId,
    /// The job's id, unique among its person's jobs.
    pub id: Uuid,
    /// The messages that the job covers.
    pub range: MessageRange,
    /// The number of leases since the job was created, lost ones included.
    pub attempts: i16,
    /// The number of lost leases since the job was created or requeued.
    pub lost_leases: i16,
    /// The reason for which the job is dead.
    pub cause: DeathCause,
    /// The error code of the last attempt.
    pub error: String,
    /// The time at which the job was created.
    pub created_at: DateTime<Utc>,
    /// The time at which the last attempt failed, by the clock of the database.
    pub died_at: DateTime<Utc>,
}

/// A request for jobs (LeaseJobs).
#[derive(Clone, Debug)]
pub struct LeaseRequest<'a> {
    /// The token that the leases will have.
    pub token: LeaseToken,
    /// The tokens that the leases of an earlier try of the request may have: it may have been derived from another key of
    /// the ring.
    pub other_tokens: Vec<LeaseToken>,
    /// The name of the worker's service.
    pub holder: &'a str,
    /// The maximum number of jobs to lease, 1 to 10.
    pub max_jobs: u8,
    /// The duration of the leases.
    pub duration: Duration,
}

/// A job that a worker has leased, with its messages.
#[derive(Debug)]
pub struct LeasedJob {
    /// The lease that the worker must show to end the job.
    pub lease: Lease,
    /// The time at which the lease expires, by the clock of the database.
    pub expires_at: DateTime<Utc>,
    /// The messages that the job covers.
    pub range: MessageRange,
    /// The messages in the range that are sent, by number.
    pub messages: Vec<SealedMessage>,
    /// The number of messages in the range that are stored and not sent.
    pub omitted: u64,
}

/// A failed attempt (FailJob).
#[derive(Clone, Copy, Debug)]
pub struct FailedAttempt<'a> {
    /// The error code that the worker sent, or that of the service itself.
    pub error: &'a ErrorCode,
    /// The delays in seconds before the next attempt, if there is one: [`RETRY_DELAYS`] with jitter.
    pub retry_delays: [f64; RETRY_DELAYS.len()],
}

// === impl DeathCause ===

impl DeathCause {
    /// The name of the cause in metrics.
    #[must_use]
    pub fn name(self) -> &'static str {
        match self {
            Self::FailedAttempts => "failed_attempts",
            Self::LostLeases => "lost_leases",
        }
    }
}

// === impl JobState ===

impl JobState {
    /// The name under which the state is stored.
    pub fn as_str(self) -> &'static str {
        match self {
            Self::Queued => "queued",
            Self::Leased => "leased",
            Self::Done => "done",
            Self::Dead => "dead",
        }
    }

    /// Returns the state that is stored under `name`; `None` when no state has this name.
    pub fn from_name(name: &str) -> Option<Self> {
        [Self::Queued, Self::Leased, Self::Done, Self::Dead]
            .into_iter()
            .find(|state| state.as_str() == name)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_job_state_is_parsed_from_its_stored_name() {
        for name in ["queued", "leased", "done", "dead"] {
            assert_eq!(JobState::from_name(name).map(JobState::as_str), Some(name));
        }
    }
}
