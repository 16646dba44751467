//! Workers that analyze: they lease jobs, and complete or fail them.

use std::time::Duration;

use haven_platform::{failure::Failure as Refusal, reason::Reason};
use haven_proto::data::v1::{
    AnalysisType, CompleteJobRequest, CompleteJobsRequest, ExtendLeaseRequest, FailJobRequest, JobLease,
    LeaseJobsRequest, LeaseJobsResponse, LeasedJob, ListDeadJobsRequest, RequeueJobRequest,
};
use haven_testkit::{database::Database, random};
use uuid::Uuid;

use super::{
    Scene,
    caller::{Caller, Failure, Mutation},
    journal::{Fact, Kind, Object},
    named,
};

/// The duration of leases: shorter than some outages, so that leases are lost.
const LEASE: i64 = 15;

/// The time that LeaseJobs waits for jobs.
const WAIT: i64 = 1;

/// The pause after a failed call.
const PAUSE: Duration = Duration::from_millis(200);

/// The interval at which failed jobs are made due.
const HASTE: Duration = Duration::from_secs(1);

/// Makes failed jobs due at once. The service lets them wait for half a minute or two, which would be too long for a job to
/// fail three times, and to be requeued, within a short drill.
const MAKE_DUE: &str =
    "UPDATE data.analysis_jobs SET start_after = now() WHERE state = 'queued' AND start_after > now()";

/// Leases jobs until the workload is stopped.
pub(super) async fn work(scene: &Scene) {
    while !scene.stopped() {
        match lease(scene).await {
            Ok(jobs) => {
                for job in jobs {
                    finish(scene, job).await;
                }
            }
            Err(_) => tokio::time::sleep(PAUSE).await,
        }
        requeue(scene).await;
    }
}

/// Makes failed jobs due, again and again. A failure is tried again.
pub(super) async fn make_failed_jobs_due(scene: &Scene, database: &Database) {
    while !scene.stopped() {
        let update = database.run("postgres", MAKE_DUE);
        let _ = tokio::time::timeout(HASTE, update).await;
        tokio::time::sleep(HASTE).await;
    }
}

fn caller(scene: &Scene, name: Uuid) -> Caller<'_> {
    let journal = &scene.journal;
    Caller { journal, name }
}

async fn lease(scene: &Scene) -> Result<Vec<LeasedJob>, Failure> {
    let request = LeaseJobsRequest {
        max_jobs: 3,
        wait: Some(seconds(WAIT)),
        lease_duration: Some(seconds(LEASE)),
        request_id: random::uuid().to_string(),
    };
    let id = request.request_id.clone();
    let mut queue = scene.worker.queue();
    let answer = caller(scene, Uuid::nil())
        .call_with_facts(
            Mutation::new("LeaseJobs", &id, Vec::new()),
            request,
            |answer: &LeaseJobsResponse| {
                let leases = answer.jobs.iter().filter_map(|job| job.lease.as_ref());
                leases
                    .map(|lease| Fact::Lease(lease.job_id.clone(), lease.lease_token.clone()))
                    .collect()
            },
            async |request| queue.lease_jobs(request).await,
        )
        .await?;
    Ok(answer.jobs)
}

/// Completes a job, fails it, or lets its lease expire.
async fn finish(scene: &Scene, job: LeasedJob) {
    let lease = job.lease.unwrap_or_default();
    // All messages of a job are of one person, which the first names.
    let owners: Vec<_> = job
        .messages
        .iter()
        .filter_map(|message| Some(named(&message.text)?.0))
        .collect();
    let Some(owner) = owners.first().copied() else {
        // Its messages were deleted.
        return fail(scene, Uuid::nil(), lease).await;
    };
    if owners.iter().any(|other| *other != owner) || owners.len() != job.messages.len() {
        let found = format!("LeaseJobs returned messages of {owners:?} with one job");
        scene.journal.reads().foreign.push(found);
    }
    match rand::random_range(0..10) {
        0..6 => fail(scene, owner, lease).await,
        6 => {}
        7 => {
            extend(scene, owner, &lease).await;
            complete(scene, owner, lease).await;
        }
        _ => complete(scene, owner, lease).await,
    }
}

async fn complete(scene: &Scene, owner: Uuid, lease: JobLease) {
    let id = random::uuid().to_string();
    // It names the job, which the analysis has the id of.
    let insight = format!("{owner} {} {id}", lease.job_id);
    let changes = vec![Object::new(owner, Kind::Analysis, &lease.job_id).becomes(1, &insight)];
    let request = CompleteJobRequest {
        lease: Some(lease),
        analysis_type: AnalysisType::ChatScoring.into(),
        chat_score_tenths: 73,
        insights: vec![insight],
        request_id: id.clone(),
        ..CompleteJobRequest::default()
    };
    let mut queue = scene.worker.queue();
    let mutation = Mutation::new("CompleteJob", &id, changes);
    let caller = caller(scene, owner);
    // A failure is in the journal. Another worker gets the job.
    if rand::random_range(0..2) == 0 {
        let _ = caller
            .call(mutation, request, async |request| {
                queue.complete_job(request).await
            })
            .await;
    } else {
        let request = CompleteJobsRequest {
            completions: vec![request],
        };
        let _ = caller
            .call(mutation, request, async |request| {
                let answer = queue.complete_jobs(request).await?;
                match answer.get_ref().results[0].reason() {
                    Reason::Unspecified => Ok(answer),
                    reason => Err(Refusal::new(reason).into()),
                }
            })
            .await;
    }
}

async fn fail(scene: &Scene, owner: Uuid, lease: JobLease) {
    let id = random::uuid().to_string();
    let request = FailJobRequest {
        lease: Some(lease),
        error_code: "MODEL_TIMEOUT".into(),
        request_id: id.clone(),
    };
    let mut queue = scene.worker.queue();
    let mutation = Mutation::new("FailJob", &id, Vec::new());
    let _ = caller(scene, owner)
        .call(mutation, request, async |request| queue.fail_job(request).await)
        .await;
}

async fn extend(scene: &Scene, owner: Uuid, lease: &JobLease) {
    let request = ExtendLeaseRequest {
        lease: Some(lease.clone()),
        lease_duration: Some(seconds(LEASE)),
    };
    let mut queue = scene.worker.queue();
    let mutation = Mutation::new("ExtendLease", "", Vec::new());
    let _ = caller(scene, owner)
        .call(mutation, request, async |request| {
            queue.extend_lease(request).await
        })
        .await;
}

/// Gives each dead job three more attempts.
async fn requeue(scene: &Scene) {
    let mut queue = scene.worker.queue();
    let worker = caller(scene, Uuid::nil());
    let dead = worker
        .read(ListDeadJobsRequest::default(), async |request| {
            queue.list_dead_jobs(request).await
        })
        .await;
    for job in dead.map(|answer| answer.jobs).unwrap_or_default() {
        let id = random::uuid().to_string();
        let request = RequeueJobRequest {
            user_id: job.user_id,
            job_id: job.job_id,
            request_id: id.clone(),
        };
        let mutation = Mutation::new("RequeueJob", &id, Vec::new());
        // Another worker may have requeued the job, or the person is erased.
        let _ = worker
            .call(mutation, request, async |request| {
                queue.requeue_job(request).await
            })
            .await;
    }
}

fn seconds(seconds: i64) -> prost_types::Duration {
    prost_types::Duration { seconds, nanos: 0 }
}
