//! Jobs of the analysis queue, in the state that a test needs.

use haven_proto::data::v1::{
    AnalysisType, CompleteJobRequest, JobLease, LeaseJobsRequest, RequestAnalysisRequest,
};
use haven_testkit::{Client, Stack, random};

use crate::{crisis_message::saying, superuser_sql::execute};

/// Appends a message of `person` and requests an analysis. Returns the id of the job.
pub(crate) async fn requested(person: &Client) -> String {
    let message = saying("analyse this");
    person.conversation().append_message(message).await.unwrap();
    let request = RequestAnalysisRequest {
        request_id: random::uuid().to_string(),
    };
    let answer = person.analysis().request_analysis(request).await.unwrap();
    answer.into_inner().job.unwrap().id
}

/// Requests an analysis and leases its job. Other due jobs may be leased as well.
pub(crate) async fn leased(stack: &Stack, person: &Client) -> JobLease {
    let job_id = requested(person).await;
    let worker = stack.service("worker").unwrap();
    loop {
        let request = LeaseJobsRequest {
            max_jobs: 10,
            request_id: random::uuid().to_string(),
            ..LeaseJobsRequest::default()
        };
        let jobs = worker
            .queue()
            .lease_jobs(request)
            .await
            .unwrap()
            .into_inner()
            .jobs;
        assert!(!jobs.is_empty(), "no other worker leases jobs");
        let mut leases = jobs.into_iter().filter_map(|job| job.lease);
        if let Some(lease) = leases.find(|lease| lease.job_id == job_id) {
            return lease;
        }
    }
}

/// Returns a request that completes a job, with an empty result.
pub(crate) fn completion(lease: JobLease) -> CompleteJobRequest {
    CompleteJobRequest {
        lease: Some(lease),
        analysis_type: AnalysisType::ChatScoring.into(),
        chat_score_tenths: 73,
        request_id: random::uuid().to_string(),
        ..CompleteJobRequest::default()
    }
}

/// Requests an analysis and completes its job. Returns the id of the analysis.
pub(crate) async fn done(stack: &Stack, person: &Client) -> String {
    let lease = leased(stack, person).await;
    let worker = stack.service("worker").unwrap();
    let completed = worker.queue().complete_job(completion(lease)).await.unwrap();
    completed.into_inner().analysis_id
}

/// Requests an analysis and makes its job dead, by SQL. Returns the id of the job.
pub(crate) async fn dead(stack: &Stack, person: &Client) -> String {
    let job_id = requested(person).await;
    let kill = format!(
        "UPDATE data.analysis_jobs SET state = 'dead', attempts = 3, finished_at = now(), last_error = 'GIVEN_UP'
         WHERE id = '{job_id}'"
    );
    execute(&stack.database, &kill).await;
    job_id
}
