//! A dead job that is tried again: its attempts are counted on, so that no lease from before is one again.

use haven_testkit::Stack;

use super::{
    complete, dead, end_rests, extend, fail, lease_one, put_job, requeue, requeueing, take_back, wish,
};
use crate::{status::reason, superuser_sql::scalar};

#[tokio::test]
async fn what_a_worker_held_before_a_job_was_requeued_it_does_not_hold_again() {
    let stack = Stack::start().await.unwrap();
    let ada = stack.person().await.unwrap();
    let job = put_job(&stack, &ada, 1).await;
    let worker = stack.service("backend").unwrap();
    let wish = wish();
    let stuck = lease_one(&worker, &wish).await;
    assert_eq!(stuck.attempt, 1);
    take_back(&stack, &worker).await;
    for _ in 2..=3 {
        end_rests(&stack).await;
        let held = lease_one(&worker, &super::wish()).await;
        fail(&worker, &held).await.unwrap();
    }
    assert_eq!(dead(&worker, 0, "").await.unwrap().jobs.len(), 1);
    requeue(&worker, &requeueing(&ada, job)).await.unwrap();

    // The same request again, and so the same token.
    let held = lease_one(&worker, &wish).await;
    assert_eq!(
        (&held.job_id, &held.lease_token, held.attempt),
        (&stuck.job_id, &stuck.lease_token, 4)
    );
    let outcomes = [
        complete(&worker, &stuck).await.map(drop),
        fail(&worker, &stuck).await.map(drop),
        extend(&worker, &stuck).await.map(drop),
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
