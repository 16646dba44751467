//! Jobs that fail: they rest longer and longer, and after three attempts they are dead until somebody looks after them.

use std::time::{Duration, SystemTime};

use haven_proto::data::v1::AnalysisJobState;
use haven_testkit::{Client, Stack};

use super::{
    complete, dead, end_leases, end_rests, fail, lease, lease_one, put_job, requeue, requeueing,
    retry_delays::rests, take_back, wish,
};
use crate::{
    analysis_jobs,
    status::{reason, violations},
    superuser_sql::{execute, scalar},
};

#[tokio::test]
async fn after_three_failures_a_job_is_dead_until_it_is_requeued() {
    let stack = Stack::start().await.unwrap();
    let person = stack.person().await.unwrap();
    let ada = stack.user(&person).unwrap();
    let id = analysis_jobs::requested(&ada).await;
    let worker = stack.service("backend").unwrap();
    for (attempt, shortest, longest) in [(1, 15, 45), (2, 60, 180)] {
        let held = lease_one(&worker, &wish()).await;
        assert_eq!(held.attempt, attempt);
        let answer = fail(&worker, &held).await.unwrap();
        assert_eq!(answer.state(), AnalysisJobState::Queued);
        let [rest] = rests(&stack).await[..] else {
            panic!("not one job")
        };
        let rest = Duration::from_secs_f64(rest);
        // The test itself took some of it.
        let bounds = Duration::from_secs(shortest - 10)..=Duration::from_secs(longest);
        assert!(bounds.contains(&rest), "{rest:?}");
        let retry = SystemTime::try_from(answer.retry_time.unwrap()).unwrap();
        let retry = retry.duration_since(SystemTime::now()).unwrap();
        assert!(
            retry.abs_diff(rest) < Duration::from_secs(5),
            "{retry:?} and {rest:?}"
        );
        assert_eq!(lease(&worker, &wish()).await.unwrap(), [], "it rests");
        assert_eq!(dead(&worker, 0, "").await.unwrap().jobs, []);
        end_rests(&stack).await;
    }
    let held = lease_one(&worker, &wish()).await;
    let answer = fail(&worker, &held).await.unwrap();
    assert_eq!(
        (answer.state(), answer.retry_time),
        (AnalysisJobState::Dead, None)
    );
    end_rests(&stack).await;
    assert_eq!(lease(&worker, &wish()).await.unwrap(), [], "it is dead");

    let listed = dead(&worker, 0, "").await.unwrap().jobs;
    let [job] = listed.as_slice() else {
        panic!("{listed:?}")
    };
    assert_eq!((&job.user_id, &job.job_id), (&person.id.to_string(), &id));
    assert_eq!((job.first_number, job.last_number, job.attempts), (1, 1, 3));
    assert_eq!(job.error_code, "MODEL_DOWN");
    assert!(job.dead_time.as_ref().unwrap().seconds >= job.create_time.as_ref().unwrap().seconds);

    requeue(&worker, &requeueing(&person, id.parse().unwrap()))
        .await
        .unwrap();
    assert_eq!(dead(&worker, 0, "").await.unwrap().jobs, []);
    let held = lease_one(&worker, &wish()).await;
    assert_eq!((&held.job_id, held.attempt), (&id, 4));
    complete(&worker, &held).await.unwrap();
    let row: String = scalar(
        &stack.database,
        "SELECT concat_ws(' ', state, attempts, last_error) FROM data.analysis_jobs",
    )
    .await;
    assert_eq!(row, "done 4");
}

#[tokio::test]
async fn a_job_whose_workers_died_three_times_is_dead() {
    let stack = Stack::start().await.unwrap();
    let person = stack.person().await.unwrap();
    let id = put_job(&stack, &person, 1).await;
    let worker = stack.service("backend").unwrap();
    for attempt in 1..=3 {
        let held = lease_one(&worker, &wish()).await;
        assert_eq!(held.attempt, attempt);
        if attempt < 3 {
            take_back(&stack, &worker).await;
            end_rests(&stack).await;
        }
    }
    end_leases(&stack).await;
    // Seen by whoever lists them, before anybody asks for work.
    let listed = dead(&worker, 0, "").await.unwrap().jobs;
    assert_eq!(listed.len(), 1);
    assert_eq!(
        (listed[0].error_code.as_str(), listed[0].attempts),
        ("LEASE_EXPIRED", 3)
    );
    assert_eq!(listed[0].job_id, id.to_string());
    assert_eq!(lease(&worker, &wish()).await.unwrap(), []);
}

/// Every dead job's range, page by page.
async fn all(worker: &Client, size: i32) -> (Vec<i64>, usize) {
    let (mut numbers, mut pages, mut token) = (Vec::new(), 0, String::new());
    loop {
        let page = dead(worker, size, &token).await.unwrap();
        assert!(page.jobs.len() <= size as usize);
        numbers.extend(page.jobs.iter().map(|job| job.last_number));
        pages += 1;
        assert!(pages <= 11, "the pages do not end");
        token = page.next_page_token;
        if token.is_empty() {
            return (numbers, pages);
        }
    }
}

#[tokio::test]
async fn pages_show_each_dead_job_once_the_longest_dead_first() {
    let stack = Stack::start().await.unwrap();
    let ada = stack.person().await.unwrap();
    for number in 1..=11 {
        put_job(&stack, &ada, number).await;
    }
    // Two at a time in the same moment.
    let die = "UPDATE data.analysis_jobs SET state = 'dead', attempts = 3, last_error = 'X',
         finished_at = now() - last_number / 2 * interval '1 minute'";
    execute(&stack.database, die).await;
    let worker = stack.service("backend").unwrap();
    let (whole, pages) = all(&worker, 200).await;
    assert_eq!((whole.len(), pages), (11, 1));
    assert!(whole.is_sorted_by_key(|number| -(number / 2)), "{whole:?}");
    for (size, expected) in [(1, 11), (2, 6), (5, 3), (11, 1)] {
        assert_eq!(all(&worker, size).await, (whole.clone(), expected), "{size}");
    }

    let token = dead(&worker, 2, "").await.unwrap().next_page_token;
    let other = stack.service("identity").unwrap();
    for (service, token) in [(&other, token.as_str()), (&worker, &token[1..]), (&worker, "x")] {
        let status = dead(service, 2, token).await.unwrap_err();
        assert_eq!(reason(&status), "PAGE_TOKEN_INVALID");
    }
    let status = dead(&worker, -1, "").await.unwrap_err();
    assert_eq!(
        violations(&status),
        [("page_size".to_owned(), "NEGATIVE".to_owned())]
    );
}

#[tokio::test]
async fn a_dead_job_is_requeued_beside_the_one_that_was_asked_for_since() {
    let stack = Stack::start().await.unwrap();
    let person = stack.person().await.unwrap();
    let ada = stack.user(&person).unwrap();
    let worker = stack.service("backend").unwrap();
    let first = analysis_jobs::dead(&stack, &ada).await;
    let second = analysis_jobs::requested(&ada).await;
    requeue(&worker, &requeueing(&person, first.parse().unwrap()))
        .await
        .unwrap();
    let leased = lease(&worker, &wish()).await.unwrap();
    let mut leased: Vec<_> = leased.into_iter().map(|job| job.lease.unwrap().job_id).collect();
    let mut expected = [first, second];
    leased.sort();
    expected.sort();
    assert_eq!(leased, expected);
}
