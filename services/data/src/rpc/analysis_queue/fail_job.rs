//! CompleteJob and FailJob: how a worker ends what it leased.

use haven_platform::{call::Call, failure::Failure, time::timestamp};
use haven_proto::data::v1::{
    AnalysisJobState, CompleteJobRequest, CompleteJobResponse, FailJobRequest, FailJobResponse,
};

use super::{
    super::DataRpc,
    complete_job::{self as parsing, CompleteJob, FailJob},
};
use crate::store::analysis_queue::{complete_job::NewAnalysis, fail_job::Failed};

impl DataRpc {
    pub(in crate::rpc) async fn complete_job_of(
        &self,
        call: &Call,
        request: CompleteJobRequest,
    ) -> Result<CompleteJobResponse, Failure> {
        let CompleteJob {
            lease,
            analysis_type,
            chat_score,
            details,
            triggered_milestone,
            request,
        } = parsing::complete_job(request, &self.requests)?;
        let now = self.clock.now();
        let details = details.seal(&self.keys, lease.person, lease.job, now);
        let found = NewAnalysis {
            analysis_type,
            chat_score,
            details: details.map_err(Failure::internal)?,
            triggered_milestone,
            created_at: now,
        };
        let created_at = self
            .queue
            .complete(&lease, &found, request, call.deadline)
            .await?;
        Ok(CompleteJobResponse {
            analysis_id: lease.job.to_string(),
            create_time: Some(timestamp(created_at)),
        })
    }

    pub(in crate::rpc) async fn fail_job_of(
        &self,
        call: &Call,
        request: FailJobRequest,
    ) -> Result<FailJobResponse, Failure> {
        let FailJob {
            lease,
            error,
            request,
        } = parsing::fail_job(request, &self.requests)?;
        let failed = Failed {
            error: &error,
            rests: self.rests(),
        };
        let retry_at = self
            .queue
            .fail(&lease, failed, request, self.clock.now(), call.deadline)
            .await?;
        let state = match retry_at {
            Some(_) => AnalysisJobState::Queued,
            None => AnalysisJobState::Dead,
        };
        Ok(FailJobResponse {
            state: state.into(),
            retry_time: retry_at.map(timestamp),
        })
    }
}
