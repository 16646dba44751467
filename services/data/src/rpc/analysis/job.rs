//! Conversion of jobs to the response message.

use haven_platform::time::timestamp;
use haven_proto::data::v1 as proto;

use crate::domain::job::{Job, JobState};

/// Converts a job, as its person sees it, to the response message.
pub(in crate::rpc) fn job_to_proto(job: &Job) -> proto::AnalysisJob {
    let state = match job.state {
        JobState::Queued => proto::AnalysisJobState::Queued,
        JobState::Leased => proto::AnalysisJobState::Leased,
        JobState::Done => proto::AnalysisJobState::Done,
        JobState::Dead => proto::AnalysisJobState::Dead,
    };
    proto::AnalysisJob {
        id: job.id.to_string(),
        first_number: job.range.first.get(),
        last_number: job.range.last.get(),
        state: state.into(),
        create_time: Some(timestamp(job.created_at)),
    }
}
