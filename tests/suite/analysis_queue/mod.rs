//! The queue of analyses, as workers see it.

mod coach_message_limit;
mod erased_people;
mod invalid_requests;
mod lease_fencing;
mod lease_jobs;
mod list_dead_jobs;
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

/// A wish for as many jobs as a worker can have, at once, under a new request id.
fn wish() -> LeaseJobsRequest {
    LeaseJobsRequest {
        max_jobs: 10,
        request_id: random::uuid().to_string(),
        ..LeaseJobsRequest::default()
    }
}

/// A wish for one job for a second.
fn short_wish() -> LeaseJobsRequest {
    LeaseJobsRequest {
        max_jobs: 1,
        lease_duration: seconds(1),
        ..wish()
    }
}

fn seconds(seconds: i64) -> Option<prost_types::Duration> {
    Some(prost_types::Duration { seconds, nanos: 0 })
}

async fn lease(worker: &Client, wish: &LeaseJobsRequest) -> Result<Vec<LeasedJob>, Status> {
    let mut queue = worker.queue();
    let answer = retry_call(wish.clone(), async |wish| queue.lease_jobs(wish).await);
    Ok(answer.await?.jobs)
}

/// The only job that is due, leased.
async fn lease_one(worker: &Client, wish: &LeaseJobsRequest) -> JobLease {
    let mut jobs = lease(worker, wish).await.unwrap();
    assert_eq!(jobs.len(), 1, "{jobs:?}");
    jobs.remove(0).lease.unwrap()
}

async fn extend(worker: &Client, lease: &JobLease) -> Result<ExtendLeaseResponse, Status> {
    let request = ExtendLeaseRequest {
        lease: Some(lease.clone()),
        lease_duration: None,
    };
    let mut queue = worker.queue();
    retry_call(request, async |request| queue.extend_lease(request).await).await
}

/// Completes a job under a new request id.
async fn complete(worker: &Client, lease: &JobLease) -> Result<CompleteJobResponse, Status> {
    let request = analysis_jobs::completion(lease.clone());
    let mut queue = worker.queue();
    retry_call(request, async |request| queue.complete_job(request).await).await
}

fn failure(lease: &JobLease) -> FailJobRequest {
    FailJobRequest {
        lease: Some(lease.clone()),
        error_code: "MODEL_DOWN".into(),
        request_id: random::uuid().to_string(),
    }
}

/// Fails a job under a new request id.
async fn fail(worker: &Client, lease: &JobLease) -> Result<FailJobResponse, Status> {
    let mut queue = worker.queue();
    retry_call(failure(lease), async |request| queue.fail_job(request).await).await
}

async fn dead(worker: &Client, size: i32, token: &str) -> Result<ListDeadJobsResponse, Status> {
    let request = ListDeadJobsRequest {
        page_size: size,
        page_token: token.to_owned(),
    };
    let mut queue = worker.queue();
    retry_call(request, async |request| queue.list_dead_jobs(request).await).await
}

fn requeueing(person: &Person, job: Uuid) -> RequeueJobRequest {
    RequeueJobRequest {
        user_id: person.id.to_string(),
        job_id: job.to_string(),
        request_id: random::uuid().to_string(),
    }
}

async fn requeue(worker: &Client, request: &RequeueJobRequest) -> Result<RequeueJobResponse, Status> {
    let mut queue = worker.queue();
    retry_call(request.clone(), async |request| queue.requeue_job(request).await).await
}

/// Says something, as `sender`.
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

/// The service `backend`, which acts for a person.
fn coach_of(stack: &Stack, person: &Person) -> Client {
    stack
        .service("backend")
        .unwrap()
        .with_token(&person.token)
        .unwrap()
}

/// Puts a job over one message, which need not be there, into the queue.
async fn put_job(stack: &Stack, person: &Person, number: i64) -> Uuid {
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

/// Lets the time pass until every lease has run out.
async fn end_leases(stack: &Stack) {
    let end = "UPDATE data.analysis_jobs SET lease_expires_at = now() WHERE state = 'leased'";
    execute(&stack.database, end).await;
}

/// Lets the time pass until every lease has run out and been seen to.
async fn take_back(stack: &Stack, worker: &Client) {
    end_leases(stack).await;
    eventually("no lease is left that ran out", async || {
        // Who lists dead jobs sees to it first.
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

/// Lets the time pass until every job is due.
async fn end_rests(stack: &Stack) {
    let end = "UPDATE data.analysis_jobs SET start_after = now() WHERE state = 'queued'";
    execute(&stack.database, end).await;
}
