//! What becomes of jobs, for whoever watches the service: counted, and by nothing that says whose they are.

/// What became of a job.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Outcome {
    /// A worker took it.
    Leased,
    /// A worker did it.
    Completed,
    /// An attempt failed, and there will be another.
    Failed,
    /// A lease ran out, and there will be another attempt.
    Expired,
    /// It was given up.
    Dead,
    /// Somebody gave it three more attempts.
    Requeued,
    /// A worker came with a lease that is not its own any more.
    LeaseLost,
}

impl Outcome {
    fn name(self) -> &'static str {
        match self {
            Self::Leased => "leased",
            Self::Completed => "completed",
            Self::Failed => "failed",
            Self::Expired => "expired",
            Self::Dead => "dead",
            Self::Requeued => "requeued",
            Self::LeaseLost => "lease_lost",
        }
    }
}

/// Counts that `outcome` became of so many jobs.
pub fn count(outcome: Outcome, jobs: u64) {
    metrics::counter!("haven_analysis_jobs_total", "outcome" => outcome.name()).increment(jobs);
}

/// Says for how many seconds the oldest job that is due has been waiting.
pub fn record_oldest_due(seconds: f64) {
    metrics::gauge!("haven_analysis_oldest_due_seconds").set(seconds);
}

/// Says what the metrics of this file mean, for whoever scrapes them.
pub fn describe_metrics() {
    use metrics::Unit;
    metrics::describe_counter!(
        "haven_analysis_jobs_total",
        Unit::Count,
        "Jobs of the analysis queue, by what became of them: leased, completed, failed (an attempt of it), expired (a lease \
         of it), dead, requeued; lease_lost when a worker came too late"
    );
    metrics::describe_gauge!(
        "haven_analysis_oldest_due_seconds",
        Unit::Seconds,
        "How long the oldest job that is due has been waiting for a worker; 0 when there is none"
    );
    record_oldest_due(0.0);
}
