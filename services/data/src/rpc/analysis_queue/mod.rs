//! `haven.data.v1.AnalysisQueueService`: the queue of analysis jobs, for workers and operators.

mod complete_job;
mod complete_jobs;
mod extend_lease;
mod fail_job;
mod lease;
mod lease_jobs;
mod list_dead_jobs;
mod requeue_job;

use std::sync::Arc;

use haven_platform::{entropy::Entropy, grpc_service, mac::MacKeys, page::PageTokens, time::Clock};
use haven_proto::data::v1::{
    CompleteJobRequest, CompleteJobResponse, CompleteJobsRequest, CompleteJobsResponse, ExtendLeaseRequest,
    ExtendLeaseResponse, FailJobRequest, FailJobResponse, LeaseJobsRequest, LeaseJobsResponse,
    ListDeadJobsRequest, ListDeadJobsResponse, RequeueJobRequest, RequeueJobResponse,
    analysis_queue_service_server::AnalysisQueueService,
};
use tokio::sync::Mutex;
use tokio_util::sync::CancellationToken;

use crate::{
    domain::{
        key_ring::KeyRing,
        retry_delay::{RETRY_DELAYS, jittered_retry_delays},
    },
    notify::Notify,
    store::analysis_queue::Queue,
};

/// The implementation of AnalysisQueueService.
#[derive(Debug)]
pub struct AnalysisQueueRpc {
    /// The queue of jobs in the database.
    pub queue: Queue,
    /// Opens the messages of jobs, and seals the details of analyses.
    pub keys: Arc<KeyRing>,
    /// Notifies waiting calls of LeaseJobs of new jobs.
    pub new_jobs: Notify,
    /// The lock of the waiting call that polls the queue. The other waiting calls queue for the lock, first come, first
    /// served, so any number of them costs one poll a second.
    pub polling: Mutex<()>,
    /// The key for the keyed hashes of requests.
    pub requests: MacKeys,
    /// The key for lease tokens, which are derived from their request.
    pub leases: MacKeys,
    /// Seals and verifies page tokens.
    pub pages: PageTokens,
    /// The clock that times of creation and change are read from.
    pub clock: Clock,
    /// The source of jitter.
    pub entropy: Entropy,
    /// Cancelled when the service shuts down: waiting calls return.
    pub stop: CancellationToken,
}

grpc_service! {
    impl AnalysisQueueService for AnalysisQueueRpc {
        rpc lease_jobs(LeaseJobsRequest) -> LeaseJobsResponse;
        rpc extend_lease(ExtendLeaseRequest) -> ExtendLeaseResponse;
        rpc complete_job(CompleteJobRequest) -> CompleteJobResponse;
        rpc complete_jobs(CompleteJobsRequest) -> CompleteJobsResponse;
        rpc fail_job(FailJobRequest) -> FailJobResponse;
        rpc list_dead_jobs(ListDeadJobsRequest) -> ListDeadJobsResponse;
        rpc requeue_job(RequeueJobRequest) -> RequeueJobResponse;
    }
}

impl AnalysisQueueRpc {
    /// Returns the delays in seconds before the next attempt: [`RETRY_DELAYS`] with jitter.
    fn retry_delays(&self) -> [f64; RETRY_DELAYS.len()] {
        let mut jitter = [0; 4];
        self.entropy.fill(&mut jitter);
        jittered_retry_delays(u32::from_be_bytes(jitter))
    }
}
