//! For how long a job rests after an attempt that came to nothing, whatever that was.

use haven_testkit::{Client, Stack};

use super::{dead, end_rests, fail, lease, lease_one, put_job, requeue, requeueing, take_back, wish};
use crate::superuser_sql::{execute, scalar};

/// For how many seconds each job that waits rests from now on, by the database's clock.
pub(super) async fn rests(stack: &Stack) -> Vec<f64> {
    scalar(
        &stack.database,
        "SELECT coalesce(array_agg(greatest(0, extract(epoch FROM start_after - now()))::float8), '{}')
         FROM data.analysis_jobs WHERE state = 'queued'",
    )
    .await
}

/// Ends the attempt that `worker` makes: it says so, or is not heard of again.
async fn end_attempt(stack: &Stack, worker: &Client, says_so: bool) {
    let held = lease_one(worker, &wish()).await;
    if says_so {
        fail(worker, &held).await.unwrap();
    } else {
        take_back(stack, worker).await;
    }
}

#[tokio::test]
async fn a_job_rests_longer_and_longer_and_after_it_is_requeued_as_at_first() {
    let stack = Stack::start().await.unwrap();
    let ada = stack.person().await.unwrap();
    let job = put_job(&stack, &ada, 1).await;
    let worker = stack.service("backend").unwrap();
    for (round, says_so) in [(0, false), (1, true), (2, false)] {
        for (attempt, shortest, longest) in [(1, 15.0, 45.0), (2, 60.0, 180.0)] {
            end_attempt(&stack, &worker, says_so).await;
            let [rest] = rests(&stack).await[..] else {
                panic!("not one job")
            };
            // The test itself took some of it.
            assert!(
                (shortest - 10.0..=longest).contains(&rest),
                "{round} {attempt}: {rest}"
            );
            assert_eq!(lease(&worker, &wish()).await.unwrap(), [], "it rests");
            end_rests(&stack).await;
        }
        end_attempt(&stack, &worker, says_so).await;
        let given_up = dead(&worker, 0, "").await.unwrap().jobs;
        assert_eq!(given_up.len(), 1);
        assert_eq!(given_up[0].attempts, 3 * (round + 1));
        requeue(&worker, &requeueing(&ada, job)).await.unwrap();
    }
}

#[tokio::test]
async fn jobs_whose_leases_ran_out_together_do_not_come_back_together() {
    let stack = Stack::start().await.unwrap();
    let ada = stack.person().await.unwrap();
    for number in 1..=10 {
        put_job(&stack, &ada, number).await;
    }
    let worker = stack.service("backend").unwrap();
    assert_eq!(lease(&worker, &wish()).await.unwrap().len(), 10);
    // An operator's own number of attempts holds up nobody.
    let more = "UPDATE data.analysis_jobs SET retry_limit = 9 WHERE last_number = 10";
    execute(&stack.database, more).await;
    take_back(&stack, &worker).await;
    let mut rests = rests(&stack).await;
    rests.sort_by(f64::total_cmp);
    assert_eq!(rests.len(), 10);
    assert!(rests[0] > 5.0 && rests[9] <= 45.0, "{rests:?}");
    assert!(rests[9] - rests[0] > 1.0, "{rests:?}");
}
