//! RequeueJob: attempts keep counting up after a requeue, so that no earlier lease becomes valid again.

use haven_testkit::Stack;

use super::{
    complete, dead, end_retry_delays, extend, fail, insert_job, lease, lease_one, lease_request,
    reclaim_leases, requeue, requeue_request,
};
use crate::{analysis_jobs, status::reason, superuser_sql::scalar};

#[tokio::test]
async fn a_lease_from_before_a_requeue_stays_lost() {
    let stack = Stack::start().await.unwrap();
    let ada = stack.person().await.unwrap();
    let job = insert_job(&stack, &ada, 1).await;
    let worker = stack.service("worker").unwrap();
    let request = lease_request();
    let lost = lease_one(&worker, &request).await;
    assert_eq!(lost.attempt, 1);
    extend(&worker, &lost).await.unwrap();
    reclaim_leases(&stack, &worker).await;
    for _ in 2..=3 {
        end_retry_delays(&stack).await;
        let held = lease_one(&worker, &super::lease_request()).await;
        fail(&worker, &held).await.unwrap();
    }
    assert_eq!(dead(&worker, 0, "").await.unwrap().jobs.len(), 1);
    requeue(&worker, &requeue_request(&ada, job)).await.unwrap();

    // The first request is repeated, so the lease has the same token.
    let held = lease_one(&worker, &request).await;
    assert_eq!(
        (&held.job_id, &held.lease_token, held.attempt),
        (&lost.job_id, &lost.lease_token, 4)
    );
    let outcomes = [
        complete(&worker, &lost).await.map(drop),
        fail(&worker, &lost).await.map(drop),
        extend(&worker, &lost).await.map(drop),
    ];
    for outcome in outcomes {
        assert_eq!(reason(&outcome.unwrap_err()), "LEASE_LOST");
    }
    extend(&worker, &held).await.unwrap();
    complete(&worker, &held).await.unwrap();
    let row: String = scalar(
        &stack.database,
        "SELECT concat_ws(' ', state, attempts, retry_limit) FROM data.analysis_jobs",
    )
    .await;
    assert_eq!(row, "done 4 6");
}

#[tokio::test]
async fn a_dead_job_may_be_requeued_beside_a_later_requested_one() {
    let stack = Stack::start().await.unwrap();
    let person = stack.person().await.unwrap();
    let ada = stack.user(&person).unwrap();
    let worker = stack.service("worker").unwrap();
    let first = analysis_jobs::dead(&stack, &ada).await;
    let second = analysis_jobs::requested(&ada).await;
    requeue(&worker, &requeue_request(&person, first.parse().unwrap()))
        .await
        .unwrap();
    let leased = lease(&worker, &lease_request()).await.unwrap();
    let mut leased: Vec<_> = leased.into_iter().map(|job| job.lease.unwrap().job_id).collect();
    let mut expected = [first, second];
    leased.sort();
    expected.sort();
    assert_eq!(leased, expected);
}
