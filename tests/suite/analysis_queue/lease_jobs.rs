//! LeaseJobs: which jobs a worker gets, and which messages; ExtendLease: for how long.

use std::time::{Duration, SystemTime};

use futures_util::future::join_all;
use haven_proto::data::v1::{
    DeleteMessageRequest, ExtendLeaseRequest, LeaseJobsRequest, ListMessagesRequest, SenderType,
};
use haven_testkit::{Stack, random};
use prost_types::Timestamp;

use super::{coach_of, complete, end_rests, extend, lease, lease_one, put_job, say, seconds, wish};
use crate::{analysis_jobs, superuser_sql::execute};

/// How long it is until `time`.
fn until(time: Option<Timestamp>) -> Duration {
    let time = SystemTime::try_from(time.unwrap()).unwrap();
    time.duration_since(SystemTime::now()).unwrap_or_default()
}

#[tokio::test]
async fn a_worker_gets_the_messages_of_the_range_and_no_others() {
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
                &format!("the product's after {number}"),
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
    let taken_back = expected.remove(3);
    let delete = DeleteMessageRequest {
        message_id: taken_back.id,
        request_id: random::uuid().to_string(),
    };
    ada.conversation().delete_message(delete).await.unwrap();

    let worker = stack.service("backend").unwrap();
    let jobs = lease(&worker, &wish()).await.unwrap();
    assert_eq!(jobs.len(), 2, "one of each");
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
    assert_eq!(lease(&worker, &wish()).await.unwrap(), []);
}

#[tokio::test]
async fn the_most_urgent_comes_first_and_then_what_has_waited_longest() {
    let stack = Stack::start().await.unwrap();
    let (ada, bob) = (stack.person().await.unwrap(), stack.person().await.unwrap());
    let mut expected = vec![analysis_jobs::requested(&stack.user(&bob).unwrap()).await];
    for number in 2..=5 {
        let job = put_job(&stack, &ada, number).await;
        expected.push(job.to_string());
        // The last that was put is the oldest.
        let age = format!(
            "UPDATE data.analysis_jobs SET start_after = now() - interval '{number} minutes' WHERE id = '{job}'"
        );
        execute(&stack.database, &age).await;
    }
    let later = put_job(&stack, &ada, 6).await;
    let rest =
        format!("UPDATE data.analysis_jobs SET start_after = now() + interval '1 hour' WHERE id = '{later}'");
    execute(&stack.database, &rest).await;
    expected[1..].reverse();
    let worker = stack.service("backend").unwrap();
    let three = LeaseJobsRequest {
        max_jobs: 3,
        ..wish()
    };
    let mut found = Vec::new();
    for size in [3, 2, 0] {
        let wish = LeaseJobsRequest {
            request_id: random::uuid().to_string(),
            ..three.clone()
        };
        let jobs = lease(&worker, &wish).await.unwrap();
        assert_eq!(jobs.len(), size);
        found.extend(jobs.into_iter().map(|job| job.lease.unwrap().job_id));
    }
    assert_eq!(found, expected);
    end_rests(&stack).await;
    assert_eq!(lease_one(&worker, &wish()).await.job_id, later.to_string());
}

#[tokio::test]
async fn of_many_workers_at_once_each_gets_jobs_of_its_own() {
    let stack = Stack::start().await.unwrap();
    let ada = stack.person().await.unwrap();
    for number in 1..=40 {
        put_job(&stack, &ada, number).await;
    }
    let worker = stack.service("backend").unwrap();
    let wishes = (0..20).map(|_| {
        let worker = &worker;
        let wish = LeaseJobsRequest {
            max_jobs: 3,
            ..wish()
        };
        async move { lease(worker, &wish).await.unwrap() }
    });
    let leased: Vec<_> = join_all(wishes).await;
    assert!(
        leased.iter().all(|jobs| jobs.len() <= 3),
        "no more than it asked for"
    );
    let mut ids: Vec<_> = leased
        .into_iter()
        .flatten()
        .map(|job| job.lease.unwrap().job_id)
        .collect();
    assert_eq!(ids.len(), 40, "all of them");
    ids.sort_unstable();
    ids.dedup();
    assert_eq!(ids.len(), 40, "none twice");
}

#[tokio::test]
async fn what_a_coach_said_is_left_out_before_an_answer_is_too_large() {
    let stack = Stack::start().await.unwrap();
    let person = stack.person().await.unwrap();
    let (ada, coach) = (stack.user(&person).unwrap(), coach_of(&stack, &person));
    // 8,000 bytes each, and nearly 11,000 when they are sealed: as much as a message can be.
    let longest = "🎉".repeat(2_000);
    for _ in 0..24 {
        say(&ada, SenderType::User, &longest).await;
        say(&coach, SenderType::Coach, &longest).await;
    }
    say(&ada, SenderType::User, &longest).await;
    let worker = stack.service("backend").unwrap();
    let jobs = lease(&worker, &wish()).await.unwrap();
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
    assert_eq!(of(SenderType::User), own, "never left out");
    let coached = of(SenderType::Coach);
    assert!((1..24).contains(&coached.len()), "{coached:?}");
    let newest: Vec<_> = (0..24)
        .map(|message| 2 * message + 2)
        .skip(24 - coached.len())
        .collect();
    assert_eq!(coached, newest, "the oldest are left out");
    assert_eq!(job.omitted_messages as usize, 24 - coached.len());
    assert!(job.messages.is_sorted_by_key(|message| message.number));
    let bytes: usize = job.messages.iter().map(|message| message.text.len()).sum();
    assert!(bytes <= 384 * 1024 * 3 / 4, "ten jobs are {} bytes", bytes * 10);
}

#[tokio::test]
async fn a_lease_is_made_to_end_later_as_often_as_its_holder_likes() {
    let stack = Stack::start().await.unwrap();
    let ada = stack.person().await.unwrap();
    put_job(&stack, &ada, 1).await;
    let worker = stack.service("backend").unwrap();
    let short = LeaseJobsRequest {
        lease_duration: seconds(5),
        ..wish()
    };
    let held = lease_one(&worker, &short).await;
    for (asked, expected) in [(None, 60), (seconds(600), 600), (seconds(20), 20)] {
        let request = ExtendLeaseRequest {
            lease: Some(held.clone()),
            lease_duration: asked,
        };
        let answer = worker.queue().extend_lease(request).await.unwrap();
        let left = until(answer.into_inner().lease_expire_time).as_secs();
        assert!((expected - 10..=expected).contains(&left), "{left} of {expected}");
    }
    // Another service that knows the token is its holder, too: it may be another program of the same worker.
    let other = stack.service("identity").unwrap();
    extend(&other, &held).await.unwrap();
    complete(&worker, &held).await.unwrap();
}
