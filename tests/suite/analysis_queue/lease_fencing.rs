//! A lease that ran out is nobody's: what its worker still brings is refused, and nothing of it is stored.

use haven_proto::data::v1::JobLease;
use haven_testkit::{Client, Stack, random};

use super::{
    complete, end_leases, end_rests, extend, fail, lease, lease_one, put_job, short_wish, take_back, wish,
};
use crate::{analysis_jobs, eventually::eventually, metrics::Metrics, status::reason, superuser_sql::scalar};

/// Whatever is tried with `lease` is refused.
async fn is_lost(worker: &Client, lease: &JobLease) {
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
async fn the_job_of_a_worker_that_died_is_done_once_by_another() {
    let stack = Stack::start().await.unwrap();
    let ada = stack.user(&stack.person().await.unwrap()).unwrap();
    let id = analysis_jobs::requested(&ada).await;
    let (dead, alive) = (
        stack.service("backend").unwrap(),
        stack.service("identity").unwrap(),
    );
    let first = lease_one(&dead, &short_wish()).await;
    assert_eq!(lease(&alive, &wish()).await.unwrap(), [], "it is the first one's");
    // It is not heard of again.
    eventually("the lease runs out", async || {
        let over = "SELECT lease_expires_at <= now() OR state <> 'leased' FROM data.analysis_jobs";
        scalar::<bool>(&stack.database, over).await
    })
    .await;
    take_back(&stack, &alive).await;
    end_rests(&stack).await;
    let second = lease_one(&alive, &wish()).await;
    assert_eq!((&second.job_id, second.attempt), (&id, 2));
    assert_ne!(second.lease_token, first.lease_token);

    // It comes back: before the other is done, and after.
    is_lost(&dead, &first).await;
    let stored: i64 = scalar(&stack.database, "SELECT count(*) FROM data.analysis_results").await;
    assert_eq!(stored, 0);
    let completion = analysis_jobs::completion(second.clone());
    alive.queue().complete_job(completion).await.unwrap();
    is_lost(&dead, &first).await;
    is_lost(&alive, &second).await;
    let rows: String = scalar(
        &stack.database,
        "SELECT concat_ws(' ', state, attempts, lease_token, lease_holder, lease_expires_at, last_error,
             finished_at IS NOT NULL, (SELECT count(*) FROM data.analysis_results),
             (SELECT count(*) FROM data.requests WHERE method IN ('CompleteJob', 'FailJob')))
         FROM data.analysis_jobs",
    )
    .await;
    assert_eq!(rows, "done 2 t 1 1");
    let counted = Metrics::read(stack.data.listeners.metrics).await;
    let of = |outcome| counted.sum("haven_analysis_jobs_total", &[("outcome", outcome)]);
    let counts = ["leased", "expired", "completed", "lease_lost", "dead"].map(of);
    assert_eq!(counts[..4], [Some(2.0), Some(1.0), Some(1.0), Some(9.0)]);
    assert!(counts[4].unwrap_or_default() == 0.0);
}

#[tokio::test]
async fn a_lease_that_ran_out_is_lost_before_anybody_else_takes_the_job() {
    let stack = Stack::start().await.unwrap();
    let ada = stack.person().await.unwrap();
    put_job(&stack, &ada, 1).await;
    let worker = stack.service("backend").unwrap();
    let wish = wish();
    let held = lease_one(&worker, &wish).await;
    end_leases(&stack).await;
    is_lost(&worker, &held).await;
    take_back(&stack, &worker).await;
    end_rests(&stack).await;
    // And is not the worker's own again, although it asks as it asked before.
    let again = lease_one(&worker, &wish).await;
    assert_eq!((&again.lease_token, again.attempt), (&held.lease_token, 2));
    is_lost(&worker, &held).await;
    complete(&worker, &again).await.unwrap();
}

#[tokio::test]
async fn every_part_of_a_lease_has_to_be_right() {
    let stack = Stack::start().await.unwrap();
    let (ada, bob) = (stack.person().await.unwrap(), stack.person().await.unwrap());
    put_job(&stack, &ada, 1).await;
    let worker = stack.service("backend").unwrap();
    let held = lease_one(&worker, &wish()).await;
    let of_bob = put_job(&stack, &bob, 1).await;
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
        is_lost(&worker, &lease).await;
    }
    complete(&worker, &held).await.unwrap();
    let log = stack.data.output().unwrap();
    assert!(!log.contains(&held.lease_token), "a token is in the log");
}

#[tokio::test]
async fn leases_run_out_also_when_nobody_asks_for_work() {
    let stack = Stack::start().await.unwrap();
    let ada = stack.person().await.unwrap();
    put_job(&stack, &ada, 1).await;
    let worker = stack.service("backend").unwrap();
    lease_one(&worker, &wish()).await;
    end_leases(&stack).await;
    eventually("the job is taken back", async || {
        scalar::<String>(&stack.database, "SELECT state FROM data.analysis_jobs").await == "queued"
    })
    .await;
    end_rests(&stack).await;
    eventually("how long it waits is seen", async || {
        let metrics = Metrics::read(stack.data.listeners.metrics).await;
        metrics.sum("haven_analysis_oldest_due_seconds", &[]) > Some(0.0)
    })
    .await;
}
