//! Invalid requests: every violation is reported at once, and nothing changes.

use haven_proto::data::v1::{
    AnalysisType, CompleteJobRequest, ExtendLeaseRequest, FailJobRequest, LeaseJobsRequest, RequeueJobRequest,
};
use haven_testkit::Stack;
use tonic::Status;

use super::{complete, insert_job, lease_one, lease_request, seconds};
use crate::{
    analysis_jobs,
    status::{reason, violations},
};

/// Returns the fields that a call was refused for.
fn fields<T: std::fmt::Debug>(outcome: Result<T, Status>) -> Vec<String> {
    let status = outcome.unwrap_err();
    assert_eq!(reason(&status), "INVALID_FIELD");
    violations(&status).into_iter().map(|(field, _)| field).collect()
}

#[tokio::test]
async fn every_violation_of_a_request_is_reported() {
    let stack = Stack::shared().await.unwrap();
    let worker = stack.service("worker").unwrap();
    let mut queue = worker.queue();
    let request = LeaseJobsRequest {
        max_jobs: -1,
        wait: seconds(31),
        lease_duration: seconds(601),
        request_id: "x".into(),
    };
    let expected = ["max_jobs", "wait", "lease_duration", "request_id"];
    assert_eq!(fields(queue.lease_jobs(request).await), expected);
    let request = ExtendLeaseRequest {
        lease: None,
        lease_duration: seconds(-1),
    };
    assert_eq!(
        fields(queue.extend_lease(request).await),
        ["lease", "lease_duration"]
    );
    let complete = queue.complete_job(CompleteJobRequest::default()).await;
    assert_eq!(fields(complete), ["request_id", "lease", "analysis_type"]);
    let fail = queue.fail_job(FailJobRequest::default()).await;
    assert_eq!(fields(fail), ["request_id", "lease", "error_code"]);
    let requeue = queue.requeue_job(RequeueJobRequest::default()).await;
    assert_eq!(fields(requeue), ["request_id", "user_id", "job_id"]);
}

#[tokio::test]
async fn a_refused_result_leaves_the_lease_valid() {
    let stack = Stack::start().await.unwrap();
    let ada = stack.person().await.unwrap();
    insert_job(&stack, &ada, 1).await;
    let worker = stack.service("worker").unwrap();
    let held = lease_one(&worker, &lease_request()).await;
    let wrong = CompleteJobRequest {
        analysis_type: AnalysisType::Unspecified.into(),
        chat_score_tenths: 141,
        insights: vec![String::new(), "canary".repeat(100)],
        triggered_milestone: "First".into(),
        ..analysis_jobs::completion(held.clone())
    };
    let outcome = worker.queue().complete_job(wrong).await;
    assert!(!format!("{outcome:?}").contains("canary"));
    let expected = [
        "analysis_type",
        "chat_score_tenths",
        "insights[0]",
        "insights[1]",
        "triggered_milestone",
    ];
    assert_eq!(fields(outcome), expected);
    complete(&worker, &held).await.unwrap();
}
