//! The queue of analyses, as workers see it.

mod dead;
mod erased;
mod fencing;
mod fields;
mod leasing;
mod line;
mod many;
mod messages;
mod requeued;
mod rests;
mod retries;
mod unreadable;
mod waiting;

use std::time::Duration;

use haven_proto::data::v1::{
    AppendMessageRequest, CompleteJobResponse, ExtendLeaseRequest, ExtendLeaseResponse, FailJobRequest,
    FailJobResponse, JobLease, LeaseJobsRequest, LeasedJob, ListDeadJobsRequest, ListDeadJobsResponse,
    Message, RequeueJobRequest, RequeueJobResponse, SenderType,
};
use haven_testkit::{Client, Person, Stack, random};
use tonic::{Request, Status};
use uuid::Uuid;

use crate::{
    eventually::eventually,
    jobs,
    sql::{execute, scalar},
};

/// A request with a deadline that a crowd does not reach.
fn patient<T>(message: T) -> Request<T> {
    let mut request = Request::new(message);
    request.set_timeout(Duration::from_secs(60));
    request
}

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
    let answer = worker.queue().lease_jobs(patient(wish.clone())).await?;
    Ok(answer.into_inner().jobs)
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
    Ok(worker.queue().extend_lease(request).await?.into_inner())
}

/// Completes a job under a new request id.
async fn complete(worker: &Client, lease: &JobLease) -> Result<CompleteJobResponse, Status> {
    let request = jobs::completion(lease.clone());
    Ok(worker.queue().complete_job(patient(request)).await?.into_inner())
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
    Ok(worker.queue().fail_job(failure(lease)).await?.into_inner())
}

async fn dead(worker: &Client, size: i32, token: &str) -> Result<ListDeadJobsResponse, Status> {
    let request = ListDeadJobsRequest {
        page_size: size,
        page_token: token.to_owned(),
    };
    Ok(worker.queue().list_dead_jobs(request).await?.into_inner())
}

fn requeueing(person: &Person, job: Uuid) -> RequeueJobRequest {
    RequeueJobRequest {
        user_id: person.id.to_string(),
        job_id: job.to_string(),
        request_id: random::uuid().to_string(),
    }
}

async fn requeue(worker: &Client, request: &RequeueJobRequest) -> Result<RequeueJobResponse, Status> {
    Ok(worker.queue().requeue_job(request.clone()).await?.into_inner())
}

/// Says something, as `sender`.
async fn say(client: &Client, sender: SenderType, text: &str) -> Message {
    let request = AppendMessageRequest {
        sender_type: sender.into(),
        text: text.into(),
        message_id: String::new(),
        request_id: random::uuid().to_string(),
    };
    let answer = client.conversation().append_message(patient(request)).await;
    answer.unwrap().into_inner().message.unwrap()
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
