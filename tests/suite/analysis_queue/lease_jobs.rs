//! LeaseJobs: the jobs and the messages that a worker gets. ExtendLease: the time that it has for them.

use std::time::{Duration, SystemTime};

use futures_util::future::join_all;
use haven_proto::data::v1::{
    DeleteMessageRequest, ExtendLeaseRequest, LeaseJobsRequest, ListMessagesRequest, SenderType,
};
use haven_testkit::{Stack, random};
use prost_types::Timestamp;

use super::{
    coach_of, complete, end_retry_delays, extend, insert_job, lease, lease_one, lease_request, say, seconds,
};
use crate::{analysis_jobs, superuser_sql::execute};

/// Returns the time until `time`.
fn until(time: Option<Timestamp>) -> Duration {
    let time = SystemTime::try_from(time.unwrap()).unwrap();
    time.duration_since(SystemTime::now()).unwrap_or_default()
}

#[tokio::test]
async fn a_worker_gets_exactly_the_messages_in_the_range_of_the_job() {
    let stack = Stack::start().await.unwrap();
    let (person, other) = (stack.person().await.unwrap(), stack.person().await.unwrap());
    let (ada, coach) = (stack.user(&person).unwrap(), coach_of(&stack, &person));
    let bob = stack.user(&other).unwrap();
    for number in 1..=30 {
        say(&ada, SenderType::User, &format!("Ada's {number} 🎉")).await;
        say(&bob, SenderType::User, "Bob's").await;
        if number % 7 == 0 {
            say(&coach, SenderType::Coach, &format!("the coach's after {number}")).await;
            say(
                &coach,
                SenderType::System,
                &format!("the system's after {number}"),
            )
            .await;
        }
    }
    let page = ada
        .conversation()
        .list_messages(ListMessagesRequest {
            page_size: 200,
            ..Default::default()
        })
        .await;
    let mut expected = page.unwrap().into_inner().messages;
    expected.retain(|message| message.number <= 31);
    let deleted = expected.remove(3);
    let delete = DeleteMessageRequest {
        message_id: deleted.id,
        request_id: random::uuid().to_string(),
    };
    ada.conversation().delete_message(delete).await.unwrap();

    let worker = stack.service("worker").unwrap();
    let jobs = lease(&worker, &lease_request()).await.unwrap();
    assert_eq!(jobs.len(), 2, "one job of each person");
    for job in jobs {
        let lease = job.lease.unwrap();
        assert_eq!(lease.attempt, 1);
        assert_eq!(job.omitted_messages, 0);
        let left = until(job.lease_expire_time);
        assert!((50..=60).contains(&left.as_secs()), "{left:?}");
        if lease.user_id == person.id.to_string() {
            assert_eq!((job.first_number, job.last_number), (1, 31));
            assert_eq!(job.messages, expected);
        } else {
            assert_eq!(lease.user_id, other.id.to_string());
            assert_eq!((job.first_number, job.last_number), (1, 25));
            assert!(job.messages.iter().all(|message| message.text == "Bob's"));
            assert_eq!(job.messages.len(), 25);
        }
        complete(&worker, &lease).await.unwrap();
    }
    assert_eq!(lease(&worker, &lease_request()).await.unwrap(), []);
}

#[tokio::test]
async fn jobs_are_leased_by_priority_and_then_by_waiting_time() {
    let stack = Stack::start().await.unwrap();
    let (ada, bob) = (stack.person().await.unwrap(), stack.person().await.unwrap());
    let mut expected = vec![analysis_jobs::requested(&stack.user(&bob).unwrap()).await];
    for number in 2..=5 {
        let job = insert_job(&stack, &ada, number).await;
        expected.push(job.to_string());
        // The last inserted job has been due longest.
        let age = format!(
            "UPDATE data.analysis_jobs SET start_after = now() - interval '{number} minutes' WHERE id = '{job}'"
        );
        execute(&stack.database, &age).await;
    }
    let later = insert_job(&stack, &ada, 6).await;
    let delay =
        format!("UPDATE data.analysis_jobs SET start_after = now() + interval '1 hour' WHERE id = '{later}'");
    execute(&stack.database, &delay).await;
    expected[1..].reverse();
    let worker = stack.service("worker").unwrap();
    let three = LeaseJobsRequest {
        max_jobs: 3,
        ..lease_request()
    };
    let mut leased = Vec::new();
    for size in [3, 2, 0] {
        let request = LeaseJobsRequest {
            request_id: random::uuid().to_string(),
            ..three.clone()
        };
        let jobs = lease(&worker, &request).await.unwrap();
        assert_eq!(jobs.len(), size);
        leased.extend(jobs.into_iter().map(|job| job.lease.unwrap().job_id));
    }
    assert_eq!(leased, expected);
    end_retry_delays(&stack).await;
    assert_eq!(
        lease_one(&worker, &lease_request()).await.job_id,
        later.to_string()
    );
}

#[tokio::test]
async fn concurrent_workers_get_different_jobs() {
    let stack = Stack::start().await.unwrap();
    let ada = stack.person().await.unwrap();
    for number in 1..=40 {
        insert_job(&stack, &ada, number).await;
    }
    let worker = stack.service("worker").unwrap();
    let calls = (0..20).map(|_| {
        let worker = &worker;
        let request = LeaseJobsRequest {
            max_jobs: 3,
            ..lease_request()
        };
        async move { lease(worker, &request).await.unwrap() }
    });
    let leased: Vec<_> = join_all(calls).await;
    assert!(leased.iter().all(|jobs| jobs.len() <= 3), "at most max_jobs");
    let mut ids: Vec<_> = leased
        .into_iter()
        .flatten()
        .map(|job| job.lease.unwrap().job_id)
        .collect();
    assert_eq!(ids.len(), 40, "every job is leased");
    ids.sort_unstable();
    ids.dedup();
    assert_eq!(ids.len(), 40, "no job is leased twice");
}

#[tokio::test]
async fn the_oldest_coach_messages_are_omitted_when_an_answer_would_be_too_large() {
    let stack = Stack::start().await.unwrap();
    let person = stack.person().await.unwrap();
    let (ada, coach) = (stack.user(&person).unwrap(), coach_of(&stack, &person));
    // 8,000 bytes each, and nearly 11,000 when sealed: the largest message.
    let longest = "🎉".repeat(2_000);
    for _ in 0..24 {
        say(&ada, SenderType::User, &longest).await;
        say(&coach, SenderType::Coach, &longest).await;
    }
    say(&ada, SenderType::User, &longest).await;
    let worker = stack.service("worker").unwrap();
    let jobs = lease(&worker, &lease_request()).await.unwrap();
    let [job] = jobs.as_slice() else {
        panic!("{} jobs", jobs.len())
    };
    let of = |sender: SenderType| {
        let messages = job
            .messages
            .iter()
            .filter(move |message| message.sender_type() == sender);
        messages.map(|message| message.number).collect::<Vec<_>>()
    };
    let own: Vec<_> = (0..25).map(|message| 2 * message + 1).collect();
    assert_eq!(
        of(SenderType::User),
        own,
        "the person's messages are never omitted"
    );
    let coached = of(SenderType::Coach);
    assert!((1..24).contains(&coached.len()), "{coached:?}");
    let newest: Vec<_> = (0..24)
        .map(|message| 2 * message + 2)
        .skip(24 - coached.len())
        .collect();
    assert_eq!(coached, newest, "the oldest are omitted");
    assert_eq!(job.omitted_messages as usize, 24 - coached.len());
    assert!(job.messages.is_sorted_by_key(|message| message.number));
    let bytes: usize = job.messages.iter().map(|message| message.text.len()).sum();
    assert!(bytes <= 384 * 1024 * 3 / 4, "ten jobs are {} bytes", bytes * 10);
}

#[tokio::test]
async fn a_lease_may_be_extended_any_number_of_times() {
    let stack = Stack::builder()
        .admit("data", "another=analysis")
        .start()
        .await
        .unwrap();
    let ada = stack.person().await.unwrap();
    insert_job(&stack, &ada, 1).await;
    let worker = stack.service("worker").unwrap();
    let short = LeaseJobsRequest {
        lease_duration: seconds(5),
        ..lease_request()
    };
    let held = lease_one(&worker, &short).await;
    for (duration, expected) in [(None, 60), (seconds(600), 600), (seconds(20), 20)] {
        let request = ExtendLeaseRequest {
            lease: Some(held.clone()),
            lease_duration: duration,
        };
        let answer = worker.queue().extend_lease(request).await.unwrap();
        let left = until(answer.into_inner().lease_expire_time).as_secs();
        assert!((expected - 10..=expected).contains(&left), "{left} of {expected}");
    }
    // Another service that has the token holds the lease, too: it may be another process of the same worker.
    let other = stack.service("another").unwrap();
    extend(&other, &held).await.unwrap();
    complete(&worker, &held).await.unwrap();
}
