//! Metrics of analysis jobs. No label identifies a person.

use crate::domain::job::DeathCause;

/// The outcome of a step in a job's life; the label `outcome`.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Outcome {
    /// A worker leased the job.
    Leased,
    /// A worker completed the job.
    Completed,
    /// An attempt failed, and the job has attempts left.
    Failed,
    /// A lease expired that its worker had extended, and the job has attempts left.
    Expired,
    /// A lease ended without a call of its worker, and the job may be leased again.
    Abandoned,
    /// The job is dead.
    Dead,
    /// An operator gave the job three more attempts.
    Requeued,
    /// A worker sent a lease that it no longer holds.
    LeaseLost,
}

impl Outcome {
    const ALL: [Self; 8] = [
        Self::Leased,
        Self::Completed,
        Self::Failed,
        Self::Expired,
        Self::Abandoned,
        Self::Dead,
        Self::Requeued,
        Self::LeaseLost,
    ];

    /// The value of the label.
    fn name(self) -> &'static str {
        match self {
            Self::Leased => "leased",
            Self::Completed => "completed",
            Self::Failed => "failed",
            Self::Expired => "expired",
            Self::Abandoned => "abandoned",
            Self::Dead => "dead",
            Self::Requeued => "requeued",
            Self::LeaseLost => "lease_lost",
        }
    }
}

/// Counts `jobs` jobs with `outcome`.
pub fn count(outcome: Outcome, jobs: u64) {
    metrics::counter!("haven_analysis_jobs_total", "outcome" => outcome.name()).increment(jobs);
}

/// Counts `jobs` jobs that died of `cause`.
pub fn count_dead(cause: DeathCause, jobs: u64) {
    count(Outcome::Dead, jobs);
    metrics::counter!("haven_analysis_dead_jobs_total", "cause" => cause.name()).increment(jobs);
}

/// Sets the number of seconds that the oldest due job has been waiting.
pub fn record_oldest_due(seconds: f64) {
    metrics::gauge!("haven_analysis_oldest_due_seconds").set(seconds);
}

/// Describes the metrics of this module.
pub fn describe_metrics() {
    use metrics::Unit;
    metrics::describe_counter!(
        "haven_analysis_jobs_total",
        Unit::Count,
        "Jobs of the analysis queue by outcome: leased, completed, failed (an attempt), expired (a lease that was extended), \
         abandoned (a lease that ended without a call of its worker), dead, requeued; lease_lost when a worker sent a lease \
         that it no longer holds"
    );
    metrics::describe_counter!(
        "haven_analysis_dead_jobs_total",
        Unit::Count,
        "Jobs that died, by cause: failed_attempts, or lost_leases, which ended without a call of their worker"
    );
    metrics::describe_gauge!(
        "haven_analysis_oldest_due_seconds",
        Unit::Seconds,
        "The time that the oldest due job has been waiting for a worker; 0 when no job is due"
    );
    record_oldest_due(0.0);
    // Set to zero, because alerts on changes of a series need its value before the first change.
    for outcome in Outcome::ALL {
        count(outcome, 0);
    }
    for cause in [DeathCause::FailedAttempts, DeathCause::LostLeases] {
        count_dead(cause, 0);
    }
}
