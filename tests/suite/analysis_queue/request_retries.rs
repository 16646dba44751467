//! Calls that are repeated with their request id: the answer is the same, and nothing is done twice.

use futures_util::future::join_all;
use haven_proto::data::v1::{
    AnalysisJobState, CompleteJobRequest, FailJobRequest, LeaseJobsRequest, RequeueJobRequest,
};
use haven_testkit::{Stack, random};

use super::{
    complete, dead, end_retry_delays, fail, failure, insert_job, lease, lease_one, lease_request,
    reclaim_leases, requeue, requeue_request, seconds,
};
use crate::{
    analysis_jobs,
    retry::retry_call,
    status::reason,
    superuser_sql::{execute, scalar},
};

/// The number of concurrent repeats.
const CROWD: usize = 20;

#[tokio::test]
async fn a_repeated_lease_request_returns_the_jobs_still_held() {
    let stack = Stack::builder()
        .admit("data", "another=analysis")
        .start()
        .await
        .unwrap();
    let ada = stack.person().await.unwrap();
    for number in 1..=12 {
        insert_job(&stack, &ada, number).await;
    }
    let worker = stack.service("worker").unwrap();
    let request = lease_request();
    let crowd = (0..CROWD).map(|_| lease(&worker, &request));
    let answers: Vec<_> = join_all(crowd).await.into_iter().map(Result::unwrap).collect();
    assert_eq!(answers[0].len(), 10);
    assert!(answers.iter().all(|answer| *answer == answers[0]));
    let attempts: i64 = scalar(&stack.database, "SELECT sum(attempts) FROM data.analysis_jobs").await;
    assert_eq!(attempts, 10);

    // A request of another service with the same request id is another request.
    let other = stack.service("another").unwrap();
    let others = lease(&other, &request).await.unwrap();
    assert_eq!(others.len(), 2);
    assert_ne!(
        others[0].lease.as_ref().unwrap().lease_token,
        answers[0][0].lease.as_ref().unwrap().lease_token
    );

    // A completed job is not held any more.
    let first = answers[0][0].lease.clone().unwrap();
    complete(&worker, &first).await.unwrap();
    assert_eq!(lease(&worker, &request).await.unwrap(), answers[0][1..]);
    // When no job is held, the repeated request leases new ones.
    reclaim_leases(&stack, &worker).await;
    end_retry_delays(&stack).await;
    let again = lease(&worker, &request).await.unwrap();
    assert_eq!(again.len(), 10);
    assert!(again.iter().all(|job| job.lease.as_ref().unwrap().attempt == 2));
}

#[tokio::test]
async fn a_different_lease_request_with_the_same_id_is_another_request() {
    let stack = Stack::start().await.unwrap();
    let ada = stack.person().await.unwrap();
    for number in 1..=4 {
        insert_job(&stack, &ada, number).await;
    }
    let worker = stack.service("worker").unwrap();
    let first = LeaseJobsRequest {
        max_jobs: 2,
        ..lease_request()
    };
    let fewer = LeaseJobsRequest {
        max_jobs: 1,
        ..first.clone()
    };
    let longer = LeaseJobsRequest {
        lease_duration: seconds(600),
        ..fewer.clone()
    };
    let mut tokens = Vec::new();
    let mut ids = Vec::new();
    for (request, expected) in [(&first, 2), (&fewer, 1), (&longer, 1)] {
        let jobs = lease(&worker, request).await.unwrap();
        assert_eq!(jobs.len(), expected);
        assert_eq!(lease(&worker, request).await.unwrap(), jobs, "a retry");
        let leases = jobs.into_iter().map(|job| job.lease.unwrap());
        let (these, jobs): (Vec<_>, Vec<_>) = leases.map(|lease| (lease.lease_token, lease.job_id)).unzip();
        tokens.extend(these);
        ids.extend(jobs);
    }
    tokens.dedup();
    assert_eq!(tokens.len(), 3, "each request has a lease token of its own");
    ids.sort_unstable();
    ids.dedup();
    assert_eq!(ids.len(), 4, "no job twice");
    // The wait is not part of the request's identity.
    let waiting = LeaseJobsRequest {
        wait: seconds(1),
        ..first.clone()
    };
    assert_eq!(
        lease(&worker, &waiting).await.unwrap(),
        lease(&worker, &first).await.unwrap()
    );
}

#[tokio::test]
async fn a_job_is_completed_once() {
    let stack = Stack::start().await.unwrap();
    let ada = stack.user(&stack.person().await.unwrap()).unwrap();
    let worker = stack.service("worker").unwrap();
    let held = analysis_jobs::leased(&stack, &ada).await;
    let request = CompleteJobRequest {
        insights: vec!["asks questions".into()],
        triggered_milestone: "first_party".into(),
        ..analysis_jobs::completion(held.clone())
    };
    let answers = join_all((0..CROWD).map(|_| async {
        let mut queue = worker.queue();
        let answer = retry_call(request.clone(), async |request| queue.complete_job(request).await);
        answer.await.unwrap()
    }))
    .await;
    assert!(answers.iter().all(|answer| *answer == answers[0]), "{answers:?}");
    assert_eq!(answers[0].analysis_id, held.job_id);
    let rows: String = scalar(
        &stack.database,
        "SELECT concat_ws(' ', state, (SELECT count(*) FROM data.analysis_results),
             (SELECT answer - 'created_at' FROM data.requests WHERE method = 'CompleteJob'))
         FROM data.analysis_jobs",
    )
    .await;
    assert_eq!(rows, "done 1 {}", "the stored answer has no token and no text");

    let others = [
        CompleteJobRequest {
            insights: vec!["asks no questions".into()],
            ..request.clone()
        },
        CompleteJobRequest {
            chat_score_tenths: 74,
            ..request.clone()
        },
    ];
    for other in others {
        let status = worker.queue().complete_job(other).await.unwrap_err();
        assert_eq!(reason(&status), "REQUEST_ID_REUSED");
    }
    let of_another_rpc = FailJobRequest {
        request_id: request.request_id.clone(),
        ..failure(&held)
    };
    let status = worker.queue().fail_job(of_another_rpc).await.unwrap_err();
    assert_eq!(reason(&status), "REQUEST_ID_REUSED");
}

#[tokio::test]
async fn a_job_is_failed_once() {
    let stack = Stack::start().await.unwrap();
    let ada = stack.person().await.unwrap();
    insert_job(&stack, &ada, 1).await;
    let worker = stack.service("worker").unwrap();
    let request = failure(&lease_one(&worker, &lease_request()).await);
    let answers = join_all((0..CROWD).map(|_| async {
        let mut queue = worker.queue();
        let answer = retry_call(request.clone(), async |request| queue.fail_job(request).await);
        answer.await.unwrap()
    }))
    .await;
    assert!(answers.iter().all(|answer| *answer == answers[0]), "{answers:?}");
    assert_eq!(answers[0].state(), AnalysisJobState::Queued);
    let other = FailJobRequest {
        error_code: "MODEL_SLOW".into(),
        ..request.clone()
    };
    let status = worker.queue().fail_job(other).await.unwrap_err();
    assert_eq!(reason(&status), "REQUEST_ID_REUSED");

    // A repeated call gets its original answer, also after the job died.
    end_retry_delays(&stack).await;
    fail(&worker, &lease_one(&worker, &lease_request()).await)
        .await
        .unwrap();
    end_retry_delays(&stack).await;
    let last = failure(&lease_one(&worker, &lease_request()).await);
    for _ in 0..2 {
        let answer = worker.queue().fail_job(last.clone()).await.unwrap().into_inner();
        assert_eq!(
            (answer.state(), answer.retry_time),
            (AnalysisJobState::Dead, None)
        );
    }
    let answer = worker.queue().fail_job(request).await.unwrap().into_inner();
    assert_eq!(answer, answers[0]);
}

#[tokio::test]
async fn a_job_is_requeued_once() {
    let stack = Stack::start().await.unwrap();
    let ada = stack.person().await.unwrap();
    let job = insert_job(&stack, &ada, 1).await;
    let worker = stack.service("worker").unwrap();
    let request = requeue_request(&ada, job);
    let status = requeue(&worker, &request).await.unwrap_err();
    assert_eq!(reason(&status), "NOT_FOUND", "the job is not dead");

    let kill =
        "UPDATE data.analysis_jobs SET state = 'dead', attempts = 3, finished_at = now(), last_error = 'X'";
    execute(&stack.database, kill).await;
    let answers = join_all((0..CROWD).map(|_| async { requeue(&worker, &request).await.unwrap() })).await;
    assert!(answers.iter().all(|answer| *answer == answers[0]), "{answers:?}");
    let answered = answers[0].job.as_ref().unwrap();
    assert_eq!(
        (&answered.id, answered.state()),
        (&job.to_string(), AnalysisJobState::Queued)
    );
    assert_eq!((answered.first_number, answered.last_number), (1, 1));
    assert_eq!(dead(&worker, 0, "").await.unwrap().jobs, []);

    let held = lease_one(&worker, &lease_request()).await;
    assert_eq!(held.attempt, 4);
    assert_eq!(requeue(&worker, &request).await.unwrap(), answers[0]);
    complete(&worker, &held).await.unwrap();
    assert_eq!(requeue(&worker, &request).await.unwrap(), answers[0]);
    let status = requeue(&worker, &requeue_request(&ada, job)).await.unwrap_err();
    assert_eq!(reason(&status), "NOT_FOUND", "the job is done");
    let status = requeue(&worker, &requeue_request(&ada, random::uuid()))
        .await
        .unwrap_err();
    assert_eq!(reason(&status), "NOT_FOUND", "there is no such job");
    let other = RequeueJobRequest {
        job_id: random::uuid().to_string(),
        ..request
    };
    let status = requeue(&worker, &other).await.unwrap_err();
    assert_eq!(reason(&status), "REQUEST_ID_REUSED");
}
