//! CompleteJobs: several jobs are completed in one call, each by itself.

use std::ops::RangeInclusive;

use futures_util::future::join_all;
use haven_platform::reason::Reason;
use haven_proto::data::v1::{
    CompleteJobRequest, CompleteJobsRequest, CompletionResult, GetAnalysisRequest, JobLease,
};
use haven_testkit::{Client, Person, Stack, random, secrets::SUPERUSER};
use sqlx::{AssertSqlSafe, raw_sql};

use super::{complete, expire_leases, fail, failure, insert_job, lease, lease_request};
use crate::{
    analysis_jobs::completion,
    eventually::eventually,
    metrics::Metrics,
    retry::retry_call,
    status::reason,
    status::violations,
    superuser_sql::{scalar, scalar_with},
};

/// Completes jobs in one call, with retries.
async fn complete_all(worker: &Client, completions: &[CompleteJobRequest]) -> Vec<CompletionResult> {
    let request = CompleteJobsRequest {
        completions: completions.to_vec(),
    };
    let mut queue = worker.queue();
    let answer = retry_call(request, async |request| queue.complete_jobs(request).await);
    answer.await.unwrap().results
}

/// Inserts jobs of `people`, one for each number of a message, and leases all of them.
async fn leased(
    stack: &Stack,
    worker: &Client,
    people: &[Person],
    numbers: RangeInclusive<i64>,
) -> Vec<JobLease> {
    let jobs = people.len() * numbers.clone().count();
    for person in people {
        for number in numbers.clone() {
            insert_job(stack, person, number).await;
        }
    }
    let mut leases = Vec::new();
    while leases.len() < jobs {
        let taken = lease(worker, &lease_request()).await.unwrap();
        assert!(!taken.is_empty(), "all jobs are due");
        leases.extend(taken.into_iter().map(|job| job.lease.unwrap()));
    }
    leases
}

fn reasons(results: &[CompletionResult]) -> Vec<Reason> {
    results
        .iter()
        .map(|result| {
            let reason = result.reason();
            assert_eq!(
                result.completed.is_some(),
                reason == Reason::Unspecified,
                "{result:?}"
            );
            reason
        })
        .collect()
}

#[tokio::test]
async fn ten_jobs_of_several_people_and_leases_are_completed_in_one_call() {
    let stack = Stack::start().await.unwrap();
    let people = [(); 3].map(|()| stack.person());
    let people: Vec<Person> = join_all(people).await.into_iter().map(Result::unwrap).collect();
    let worker = stack.service("worker").unwrap();
    let leases = leased(&stack, &worker, &people, 1..=4).await;
    let completions: Vec<_> = leases
        .iter()
        .take(10)
        .enumerate()
        .map(|(number, lease)| CompleteJobRequest {
            insights: vec![format!("insight {number}")],
            ..completion(lease.clone())
        })
        .collect();
    let results = complete_all(&worker, &completions).await;
    assert_eq!(reasons(&results), [Reason::Unspecified; 10]);
    for (number, (result, lease)) in results.iter().zip(&leases).enumerate() {
        let completed = result.completed.as_ref().unwrap();
        assert_eq!(
            completed.analysis_id, lease.job_id,
            "in the order of the completions"
        );
        let owner = people
            .iter()
            .find(|person| person.id.to_string() == lease.user_id)
            .unwrap();
        let request = GetAnalysisRequest {
            analysis_id: lease.job_id.clone(),
        };
        let analysis = stack
            .user(owner)
            .unwrap()
            .analysis()
            .get_analysis(request)
            .await
            .unwrap();
        let analysis = analysis.into_inner().analysis.unwrap();
        assert_eq!(analysis.insights, [format!("insight {number}")]);
        assert_eq!(analysis.create_time, completed.create_time);
    }
    assert_eq!(complete_all(&worker, &completions).await, results, "a retry");
    let sealed: bool = scalar(
        &stack.database,
        "SELECT bool_and(details LIKE 'gAAAA%') AND count(*) = 10 FROM data.analysis_results",
    )
    .await;
    assert!(sealed);
    let counted = Metrics::read(stack.data.listeners.metrics).await;
    let completed = counted.sum("haven_analysis_jobs_total", &[("outcome", "completed")]);
    assert_eq!(completed, Some(10.0), "a retry is not counted");
}

#[tokio::test]
async fn a_job_that_another_call_holds_does_not_affect_the_others() {
    let stack = Stack::start().await.unwrap();
    let (ada, bob) = (stack.person().await.unwrap(), stack.person().await.unwrap());
    let worker = stack.service("worker").unwrap();
    let leases = leased(&stack, &worker, &[ada, bob], 1..=2).await;
    let completions: Vec<_> = leases.iter().cloned().map(completion).collect();
    let mut holder = stack.database.connect(SUPERUSER).await.unwrap();
    let hold = format!(
        "BEGIN; SELECT FROM data.analysis_jobs WHERE id = '{}' FOR UPDATE",
        leases[1].job_id
    );
    raw_sql(AssertSqlSafe(hold)).execute(&mut holder).await.unwrap();
    let mut expected = [Reason::Unspecified; 4];
    expected[1] = Reason::DependencyUnavailable;
    let results = complete_all(&worker, &completions).await;
    assert_eq!(reasons(&results), expected);
    raw_sql("ROLLBACK").execute(&mut holder).await.unwrap();
    let again = complete_all(&worker, &completions).await;
    assert_eq!(reasons(&again), [Reason::Unspecified; 4]);
    for place in [0, 2, 3] {
        assert_eq!(again[place], results[place], "the first answer");
    }
}

#[tokio::test]
async fn a_job_that_cannot_be_completed_does_not_affect_the_others() {
    let stack = Stack::start().await.unwrap();
    let (ada, bob) = (stack.person().await.unwrap(), stack.person().await.unwrap());
    let worker = stack.service("worker").unwrap();
    let leases = leased(&stack, &worker, &[ada.clone(), bob], 1..=4).await;
    let done = completion(leases[0].clone());
    let first = complete_all(&worker, std::slice::from_ref(&done)).await;
    fail(&worker, &leases[1]).await.unwrap();
    let reused = failure(&leases[2]);
    worker.queue().fail_job(reused.clone()).await.unwrap();
    let of_another = CompleteJobRequest {
        lease: Some(JobLease {
            user_id: leases
                .iter()
                .find(|lease| lease.user_id != leases[3].user_id)
                .unwrap()
                .user_id
                .clone(),
            ..leases[3].clone()
        }),
        ..completion(leases[3].clone())
    };
    let good = completion(leases[4].clone());
    let completions = [
        done.clone(),
        completion(leases[1].clone()),
        CompleteJobRequest {
            request_id: reused.request_id,
            ..completion(leases[2].clone())
        },
        CompleteJobRequest {
            chat_score_tenths: 141,
            insights: vec![String::new()],
            request_id: String::new(),
            ..completion(leases[3].clone())
        },
        of_another,
        CompleteJobRequest {
            chat_score_tenths: 74,
            ..done.clone()
        },
        good.clone(),
        // The same job and the same request again, and the same job in another request.
        good,
        completion(leases[4].clone()),
        CompleteJobRequest::default(),
    ];
    let results = complete_all(&worker, &completions).await;
    use Reason::{InvalidField, LeaseLost, RequestIdReused, Unspecified};
    let expected = [
        Unspecified,
        LeaseLost,
        RequestIdReused,
        InvalidField,
        LeaseLost,
        RequestIdReused,
        Unspecified,
        Unspecified,
        LeaseLost,
        InvalidField,
    ];
    assert_eq!(reasons(&results), expected);
    assert_eq!(results[0], first[0], "the first answer");
    assert_eq!(results[6], results[7]);
    let wrong = |place: usize| -> Vec<(&str, &str)> {
        let violations = results[place].violations.iter();
        violations
            .map(|one| (one.field.as_str(), one.name.as_str()))
            .collect()
    };
    assert_eq!(
        wrong(3),
        [
            ("request_id", "REQUIRED"),
            ("chat_score_tenths", "OUT_OF_RANGE"),
            ("insights[0]", "ITEM_EMPTY")
        ]
    );
    assert_eq!(
        wrong(9),
        [
            ("request_id", "REQUIRED"),
            ("lease", "REQUIRED"),
            ("analysis_type", "REQUIRED")
        ]
    );
    assert_eq!(wrong(1), []);
    assert_eq!(complete_all(&worker, &completions).await, results, "a retry");
    let rows: String = scalar(
        &stack.database,
        "SELECT concat_ws(' ', count(*) FILTER (WHERE state = 'done'), (SELECT count(*) FROM data.analysis_results),
             (SELECT count(*) FROM data.requests WHERE method = 'CompleteJob')) FROM data.analysis_jobs",
    )
    .await;
    assert_eq!(rows, "2 2 2");
    // What was refused for its content can be sent again.
    complete(&worker, &leases[3]).await.unwrap();
}

#[tokio::test]
async fn a_retry_may_be_alone_or_in_another_batch() {
    let stack = Stack::start().await.unwrap();
    let ada = stack.person().await.unwrap();
    let worker = stack.service("worker").unwrap();
    let leases = leased(&stack, &worker, &[ada], 1..=3).await;
    let completions: Vec<_> = leases.iter().map(|lease| completion(lease.clone())).collect();
    let alone = worker.queue().complete_job(completions[0].clone()).await.unwrap();
    let results = complete_all(&worker, &completions).await;
    assert_eq!(reasons(&results), [Reason::Unspecified; 3]);
    assert_eq!(results[0].completed, Some(alone.into_inner()));
    for (request, result) in completions.iter().zip(&results) {
        let again = worker.queue().complete_job(request.clone()).await.unwrap();
        assert_eq!(Some(again.into_inner()), result.completed);
    }
    let reversed: Vec<_> = completions.iter().rev().cloned().collect();
    let mut again = complete_all(&worker, &reversed).await;
    again.reverse();
    assert_eq!(again, results);
}

#[tokio::test]
async fn concurrent_batches_of_the_same_jobs_complete_each_once() {
    let stack = Stack::start().await.unwrap();
    let people = [(); 5].map(|()| stack.person());
    let people: Vec<Person> = join_all(people).await.into_iter().map(Result::unwrap).collect();
    let worker = stack.service("worker").unwrap();
    let leases = leased(&stack, &worker, &people, 1..=2).await;
    let completions: Vec<_> = leases.iter().map(|lease| completion(lease.clone())).collect();
    // Each in another order: without a common one they would lock people in a circle.
    let calls = (0..20).map(|turn| {
        let mut rotated = completions.clone();
        rotated.rotate_left(turn % 10);
        let worker = &worker;
        async move {
            let mut results = complete_all(worker, &rotated).await;
            results.rotate_right(turn % 10);
            results
        }
    });
    let answers = join_all(calls).await;
    assert_eq!(reasons(&answers[0]), [Reason::Unspecified; 10]);
    assert!(answers.iter().all(|answer| *answer == answers[0]), "{answers:?}");
    let stored: i64 = scalar(&stack.database, "SELECT count(*) FROM data.analysis_results").await;
    assert_eq!(stored, 10);
    let deadlocks: i64 = scalar(
        &stack.database,
        "SELECT deadlocks FROM pg_stat_database WHERE datname = current_database()",
    )
    .await;
    assert_eq!(deadlocks, 0);
}

#[tokio::test]
async fn jobs_of_an_erased_person_and_expired_leases_are_lost_alone() {
    let stack = Stack::start().await.unwrap();
    let (ada, bob) = (stack.person().await.unwrap(), stack.person().await.unwrap());
    let worker = stack.service("worker").unwrap();
    let leases = leased(&stack, &worker, &[ada.clone(), bob.clone()], 1..=1).await;
    let completions: Vec<_> = leases.iter().map(|lease| completion(lease.clone())).collect();
    let request = haven_proto::identity::v1::DeleteAccountRequest {
        user_id: ada.id.to_string(),
        password: ada.password.clone(),
        request_id: random::uuid().to_string(),
    };
    stack
        .user(&ada)
        .unwrap()
        .account()
        .delete_account(request)
        .await
        .unwrap();
    eventually("the person is erased", async || {
        let left = "SELECT count(*) FROM data.users WHERE id = $1";
        scalar_with::<i64, _>(&stack.database, left, ada.id).await == 0
    })
    .await;
    let results = complete_all(&worker, &completions).await;
    for (lease, result) in leases.iter().zip(&results) {
        let expected = match lease.user_id == ada.id.to_string() {
            true => Reason::LeaseLost,
            false => Reason::Unspecified,
        };
        assert_eq!(result.reason(), expected);
    }

    let leases = leased(&stack, &worker, &[bob], 2..=4).await;
    expire_leases(&stack).await;
    let completions: Vec<_> = leases.iter().map(|lease| completion(lease.clone())).collect();
    let results = complete_all(&worker, &completions).await;
    assert_eq!(reasons(&results), [Reason::LeaseLost; 3]);
}

#[tokio::test]
async fn a_call_has_one_to_ten_completions() {
    let stack = Stack::shared().await.unwrap();
    let worker = stack.service("worker").unwrap();
    for (number, name) in [(0, "REQUIRED"), (11, "TOO_MANY")] {
        let request = CompleteJobsRequest {
            completions: vec![CompleteJobRequest::default(); number],
        };
        let status = worker.queue().complete_jobs(request).await.unwrap_err();
        assert_eq!(reason(&status), "INVALID_FIELD");
        assert_eq!(violations(&status), [("completions".to_owned(), name.to_owned())]);
    }
    let results = complete_all(&worker, &vec![CompleteJobRequest::default(); 10]).await;
    assert_eq!(reasons(&results), [Reason::InvalidField; 10]);
}
