//! Fencing: calls with an expired lease are refused, and store nothing.

use haven_proto::data::v1::JobLease;
use haven_testkit::{Client, Stack, random};

use super::{
    complete, end_retry_delays, expire_leases, extend, fail, insert_job, lease, lease_one, lease_request,
    reclaim_leases, short_lease_request,
};
use crate::{analysis_jobs, eventually::eventually, metrics::Metrics, status::reason, superuser_sql::scalar};

/// Asserts that CompleteJob, FailJob and ExtendLease refuse `lease`.
async fn assert_lost(worker: &Client, lease: &JobLease) {
    let outcomes = [
        complete(worker, lease).await.map(drop),
        fail(worker, lease).await.map(drop),
        extend(worker, lease).await.map(drop),
    ];
    for outcome in outcomes {
        let status = outcome.unwrap_err();
        assert_eq!(reason(&status), "LEASE_LOST");
        assert!(!format!("{status:?}").contains(&lease.lease_token), "{status:?}");
    }
}

#[tokio::test]
async fn a_job_of_a_worker_that_died_is_done_once_by_another() {
    let stack = Stack::builder()
        .admit("data", "another=analysis")
        .start()
        .await
        .unwrap();
    let ada = stack.user(&stack.person().await.unwrap()).unwrap();
    let id = analysis_jobs::requested(&ada).await;
    let (dead, alive) = (
        stack.service("worker").unwrap(),
        stack.service("another").unwrap(),
    );
    let first = lease_one(&dead, &short_lease_request()).await;
    assert_eq!(
        lease(&alive, &lease_request()).await.unwrap(),
        [],
        "the first worker holds the job"
    );
    // The first worker makes no more calls.
    eventually("the lease expires", async || {
        let expired = "SELECT lease_expires_at <= now() OR state <> 'leased' FROM data.analysis_jobs";
        scalar::<bool>(&stack.database, expired).await
    })
    .await;
    reclaim_leases(&stack, &alive).await;
    end_retry_delays(&stack).await;
    let second = lease_one(&alive, &lease_request()).await;
    assert_eq!((&second.job_id, second.attempt), (&id, 2));
    assert_ne!(second.lease_token, first.lease_token);

    // The first worker comes back: before the second is done, and after.
    assert_lost(&dead, &first).await;
    let stored: i64 = scalar(&stack.database, "SELECT count(*) FROM data.analysis_results").await;
    assert_eq!(stored, 0);
    let completion = analysis_jobs::completion(second.clone());
    alive.queue().complete_job(completion).await.unwrap();
    assert_lost(&dead, &first).await;
    assert_lost(&alive, &second).await;
    let rows: String = scalar(
        &stack.database,
        "SELECT concat_ws(' ', state, attempts, lease_token, lease_digest, lease_holder, lease_expires_at, last_error,
             finished_at IS NOT NULL, (SELECT count(*) FROM data.analysis_results),
             (SELECT count(*) FROM data.requests WHERE method IN ('CompleteJob', 'FailJob')))
         FROM data.analysis_jobs",
    )
    .await;
    assert_eq!(rows, "done 2 t 1 1");
    let counted = Metrics::read(stack.data.listeners.metrics).await;
    let count = |outcome| counted.sum("haven_analysis_jobs_total", &[("outcome", outcome)]);
    let counts = ["leased", "abandoned", "completed", "lease_lost", "dead"].map(count);
    assert_eq!(counts[..4], [Some(2.0), Some(1.0), Some(1.0), Some(9.0)]);
    assert!(counts[4].unwrap_or_default() == 0.0);
}

#[tokio::test]
async fn an_expired_lease_is_lost_before_another_worker_leases_the_job() {
    let stack = Stack::start().await.unwrap();
    let ada = stack.person().await.unwrap();
    insert_job(&stack, &ada, 1).await;
    let worker = stack.service("worker").unwrap();
    let request = lease_request();
    let held = lease_one(&worker, &request).await;
    expire_leases(&stack).await;
    assert_lost(&worker, &held).await;
    reclaim_leases(&stack, &worker).await;
    end_retry_delays(&stack).await;
    // The lease stays lost, although the worker repeats the request that made it.
    let again = lease_one(&worker, &request).await;
    assert_eq!((&again.lease_token, again.attempt), (&held.lease_token, 2));
    assert_lost(&worker, &held).await;
    complete(&worker, &again).await.unwrap();
}

#[tokio::test]
async fn every_field_of_a_lease_has_to_match() {
    let stack = Stack::start().await.unwrap();
    let (ada, bob) = (stack.person().await.unwrap(), stack.person().await.unwrap());
    insert_job(&stack, &ada, 1).await;
    let worker = stack.service("worker").unwrap();
    let held = lease_one(&worker, &lease_request()).await;
    let of_bob = insert_job(&stack, &bob, 1).await;
    let wrong = [
        JobLease {
            user_id: bob.id.to_string(),
            ..held.clone()
        },
        JobLease {
            user_id: random::uuid().to_string(),
            ..held.clone()
        },
        JobLease {
            job_id: of_bob.to_string(),
            ..held.clone()
        },
        JobLease {
            user_id: bob.id.to_string(),
            job_id: of_bob.to_string(),
            ..held.clone()
        },
        JobLease {
            lease_token: random::uuid().to_string(),
            ..held.clone()
        },
        JobLease {
            attempt: 2,
            ..held.clone()
        },
    ];
    for lease in wrong {
        assert_lost(&worker, &lease).await;
    }
    complete(&worker, &held).await.unwrap();
    let log = stack.data.output().unwrap();
    assert!(!log.contains(&held.lease_token), "a token is in the log");
}

#[tokio::test]
async fn leases_expire_without_calls_of_workers() {
    let stack = Stack::start().await.unwrap();
    let ada = stack.person().await.unwrap();
    insert_job(&stack, &ada, 1).await;
    let worker = stack.service("worker").unwrap();
    lease_one(&worker, &lease_request()).await;
    expire_leases(&stack).await;
    eventually("the job is queued again", async || {
        scalar::<String>(&stack.database, "SELECT state FROM data.analysis_jobs").await == "queued"
    })
    .await;
    end_retry_delays(&stack).await;
    eventually("the metric shows how long the job has been due", async || {
        let metrics = Metrics::read(stack.data.listeners.metrics).await;
        metrics.sum("haven_analysis_oldest_due_seconds", &[]) > Some(0.0)
    })
    .await;
}
