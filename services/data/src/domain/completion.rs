//! Completions: analyses that end the jobs that they are of.

use haven_platform::request_key::RequestKey;

use super::{analysis::NewAnalysis, lease::Lease};

/// The analysis of a leased job, which ends the job (CompleteJob, CompleteJobs).
#[derive(Debug)]
pub struct Completion {
    /// The lease of the job.
    pub lease: Lease,
    /// The analysis to store.
    pub analysis: NewAnalysis,
    /// The key of the request.
    pub request: RequestKey,
}

/// The reason why a job was not completed.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum CompletionRefusal {
    /// The worker does not hold the job: the lease has expired or never existed, or the job was deleted.
    LeaseLost,
    /// The request id belongs to a request with other content.
    RequestIdReused,
    /// Another call held the rows for too long. A retry may store the analysis.
    Busy,
}
