//! `haven.data.v1.AnalysisQueueService`: the queue that workers take analyses from. Leasing jobs, ending them, and dead
//! jobs have files of their own.

mod complete_job;
mod fail_job;
mod lease;
mod lease_jobs;
mod list_dead_jobs;

use haven_platform::call::Call;
use haven_proto::data::v1::{
    CompleteJobRequest, CompleteJobResponse, ExtendLeaseRequest, ExtendLeaseResponse, FailJobRequest,
    FailJobResponse, LeaseJobsRequest, LeaseJobsResponse, ListDeadJobsRequest, ListDeadJobsResponse,
    RequeueJobRequest, RequeueJobResponse, analysis_queue_service_server::AnalysisQueueService,
};
use tonic::{Request, Response, Status};

use super::DataRpc;

#[tonic::async_trait]
impl AnalysisQueueService for DataRpc {
    async fn lease_jobs(
        &self,
        request: Request<LeaseJobsRequest>,
    ) -> Result<Response<LeaseJobsResponse>, Status> {
        let call = Call::of(&request)?;
        Ok(Response::new(
            self.lease_jobs_of(&call, request.into_inner()).await?,
        ))
    }

    async fn extend_lease(
        &self,
        request: Request<ExtendLeaseRequest>,
    ) -> Result<Response<ExtendLeaseResponse>, Status> {
        let call = Call::of(&request)?;
        Ok(Response::new(
            self.extend_lease_of(&call, request.into_inner()).await?,
        ))
    }

    async fn complete_job(
        &self,
        request: Request<CompleteJobRequest>,
    ) -> Result<Response<CompleteJobResponse>, Status> {
        let call = Call::of(&request)?;
        Ok(Response::new(
            self.complete_job_of(&call, request.into_inner()).await?,
        ))
    }

    async fn fail_job(&self, request: Request<FailJobRequest>) -> Result<Response<FailJobResponse>, Status> {
        let call = Call::of(&request)?;
        Ok(Response::new(
            self.fail_job_of(&call, request.into_inner()).await?,
        ))
    }

    async fn list_dead_jobs(
        &self,
        request: Request<ListDeadJobsRequest>,
    ) -> Result<Response<ListDeadJobsResponse>, Status> {
        let call = Call::of(&request)?;
        Ok(Response::new(
            self.list_dead_jobs_of(&call, request.into_inner()).await?,
        ))
    }

    async fn requeue_job(
        &self,
        request: Request<RequeueJobRequest>,
    ) -> Result<Response<RequeueJobResponse>, Status> {
        let call = Call::of(&request)?;
        Ok(Response::new(
            self.requeue_job_of(&call, request.into_inner()).await?,
        ))
    }
}
