//! `haven.data.v1.AnalysisQueueService`: workers lease, extend, complete and fail jobs; operators list and requeue dead
//! ones.

mod clocks;
mod coach_message_limit;
mod complete_jobs;
mod erased_people;
mod invalid_requests;
mod jobs_of_other_replicas;
mod lease_fencing;
mod lease_jobs;
mod lease_tokens;
mod list_dead_jobs;
mod lost_leases;
mod many_waiting_workers;
mod request_retries;
mod requeue_job;
mod retry_delays;
mod ten_thousand_jobs;
mod unreadable_messages;
mod waiting_workers;

use haven_proto::data::v1::{
    AppendMessageRequest, CompleteJobResponse, ExtendLeaseRequest, ExtendLeaseResponse, FailJobRequest,
    FailJobResponse, JobLease, LeaseJobsRequest, LeasedJob, ListDeadJobsRequest, ListDeadJobsResponse,
    Message, RequeueJobRequest, RequeueJobResponse, SenderType,
};
use haven_testkit::{Client, Person, Stack, random};
use tonic::Status;
use uuid::Uuid;

use crate::{
    analysis_jobs,
    eventually::eventually,
    retry::retry_call,
    superuser_sql::{execute, scalar},
};

/// Returns a request for the maximum number of jobs, without waiting, with a new request id.
fn lease_request() -> LeaseJobsRequest {
    LeaseJobsRequest {
        max_jobs: 10,
        request_id: random::uuid().to_string(),
        ..LeaseJobsRequest::default()
    }
}

/// Returns a request for one job with a lease of one second.
fn short_lease_request() -> LeaseJobsRequest {
    LeaseJobsRequest {
        max_jobs: 1,
        lease_duration: seconds(1),
        ..lease_request()
    }
}

fn seconds(seconds: i64) -> Option<prost_types::Duration> {
    Some(prost_types::Duration { seconds, nanos: 0 })
}

/// Leases jobs, with retries.
async fn lease(worker: &Client, request: &LeaseJobsRequest) -> Result<Vec<LeasedJob>, Status> {
    let mut queue = worker.queue();
    let answer = retry_call(request.clone(), async |request| queue.lease_jobs(request).await);
    Ok(answer.await?.jobs)
}

/// Leases the only due job.
async fn lease_one(worker: &Client, request: &LeaseJobsRequest) -> JobLease {
    let mut jobs = lease(worker, request).await.unwrap();
    assert_eq!(jobs.len(), 1, "{jobs:?}");
    jobs.remove(0).lease.unwrap()
}

/// Extends a lease by the default duration, with retries.
async fn extend(worker: &Client, lease: &JobLease) -> Result<ExtendLeaseResponse, Status> {
    let request = ExtendLeaseRequest {
        lease: Some(lease.clone()),
        lease_duration: None,
    };
    let mut queue = worker.queue();
    retry_call(request, async |request| queue.extend_lease(request).await).await
}

/// Completes a job with a new request id, with retries.
async fn complete(worker: &Client, lease: &JobLease) -> Result<CompleteJobResponse, Status> {
    let request = analysis_jobs::completion(lease.clone());
    let mut queue = worker.queue();
    retry_call(request, async |request| queue.complete_job(request).await).await
}

/// Returns a request to fail a job, with a new request id.
fn failure(lease: &JobLease) -> FailJobRequest {
    FailJobRequest {
        lease: Some(lease.clone()),
        error_code: "MODEL_DOWN".into(),
        request_id: random::uuid().to_string(),
    }
}

/// Fails a job with a new request id, with retries.
async fn fail(worker: &Client, lease: &JobLease) -> Result<FailJobResponse, Status> {
    let mut queue = worker.queue();
    retry_call(failure(lease), async |request| queue.fail_job(request).await).await
}

/// Lists dead jobs, with retries.
async fn dead(worker: &Client, size: i32, token: &str) -> Result<ListDeadJobsResponse, Status> {
    let request = ListDeadJobsRequest {
        page_size: size,
        page_token: token.to_owned(),
    };
    let mut queue = worker.queue();
    retry_call(request, async |request| queue.list_dead_jobs(request).await).await
}

/// Returns a request to requeue a job of `person`.
fn requeue_request(person: &Person, job: Uuid) -> RequeueJobRequest {
    RequeueJobRequest {
        user_id: person.id.to_string(),
        job_id: job.to_string(),
        request_id: random::uuid().to_string(),
    }
}

/// Requeues a dead job, with retries.
async fn requeue(worker: &Client, request: &RequeueJobRequest) -> Result<RequeueJobResponse, Status> {
    let mut queue = worker.queue();
    retry_call(request.clone(), async |request| queue.requeue_job(request).await).await
}

/// Appends a message of `sender`, with retries.
async fn say(client: &Client, sender: SenderType, text: &str) -> Message {
    let request = AppendMessageRequest {
        sender_type: sender.into(),
        text: text.into(),
        message_id: String::new(),
        request_id: random::uuid().to_string(),
    };
    let mut conversation = client.conversation();
    let answer = retry_call(request, async |request| {
        conversation.append_message(request).await
    });
    answer.await.unwrap().message.unwrap()
}

/// Returns a client of the service `backend` that acts for `person`.
fn coach_of(stack: &Stack, person: &Person) -> Client {
    stack
        .service("backend")
        .unwrap()
        .with_token(&person.token)
        .unwrap()
}

/// Inserts a job over one message, which does not have to exist. Returns its id.
async fn insert_job(stack: &Stack, person: &Person, number: i64) -> Uuid {
    let job = random::uuid();
    let put = format!(
        "INSERT INTO data.analysis_jobs
             (user_id, id, first_number, last_number, requested, priority, start_after, created_at)
         VALUES ('{}', '{job}', {number}, {number}, false, 0, now(), now())",
        person.id
    );
    execute(&stack.database, &put).await;
    job
}

/// Makes every lease expire now.
async fn expire_leases(stack: &Stack) {
    let end = "UPDATE data.analysis_jobs SET lease_expires_at = now() WHERE state = 'leased'";
    execute(&stack.database, end).await;
}

/// Makes every lease expire now, and waits until the service has put the jobs back.
async fn reclaim_leases(stack: &Stack, worker: &Client) {
    expire_leases(stack).await;
    eventually("no expired lease is left", async || {
        // ListDeadJobs puts jobs with expired leases back first.
        dead(worker, 1, "").await.unwrap();
        scalar::<i64>(
            &stack.database,
            "SELECT count(*) FROM data.analysis_jobs WHERE state = 'leased' AND lease_expires_at <= now()",
        )
        .await
            == 0
    })
    .await;
}

/// Makes every queued job due now.
async fn end_retry_delays(stack: &Stack) {
    let end = "UPDATE data.analysis_jobs SET start_after = now() WHERE state = 'queued'";
    execute(&stack.database, end).await;
}
