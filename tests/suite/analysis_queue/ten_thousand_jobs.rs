//! Ten thousand jobs, four workers and two replicas: each job is done exactly once.

use std::{
    sync::atomic::{AtomicUsize, Ordering::Relaxed},
    time::{Duration, Instant},
};

use chrono::DateTime;
use futures_util::future::join_all;
use haven_data::domain::{key_ring::KeyRing, message::cell};
use haven_platform::{call::UserId, config::keyed_secrets};
use haven_testkit::{Client, Stack, port::Port, random};
use tokio::time::timeout;
use uuid::Uuid;

use super::{complete, lease, lease_request};
use crate::{replica::replica, superuser_sql::scalar};

const PEOPLE: usize = 250;
const JOBS_OF_EACH: usize = 40;
const JOBS: usize = PEOPLE * JOBS_OF_EACH;
const WORKERS: usize = 4;

/// A time limit that they do not reach on a machine that is busy with other tests.
const LIMIT: Duration = Duration::from_secs(400);

fn text_of(person: Uuid, number: usize) -> String {
    format!("{person} says {number}")
}

/// Inserts people with one message for each job, and the jobs. Through the services it would take two minutes.
async fn insert_people_and_jobs(stack: &Stack) {
    let keys = stack.data.variables["MESSAGE_KEYS"].clone().into();
    let keys = KeyRing::new(&keyed_secrets(&keys).unwrap()).unwrap();
    let (mut people, mut ids, mut numbers, mut texts, mut key_ids) = (vec![], vec![], vec![], vec![], vec![]);
    for _ in 0..PEOPLE {
        let person = random::uuid();
        for number in 1..=JOBS_OF_EACH {
            let id = random::uuid();
            let cell = cell(UserId::new(person), id);
            let sealed = keys.seal(cell, &text_of(person, number), DateTime::UNIX_EPOCH);
            people.push(person);
            ids.push(id);
            numbers.push(number as i64);
            texts.push(sealed.token);
            key_ids.push(sealed.key_id);
        }
    }
    let mut database = stack.database.connect("postgres").await.unwrap();
    for sql in [
        "INSERT INTO data.users (id, created_at) SELECT DISTINCT unnest($1::uuid[]), now()
         WHERE cardinality($2::uuid[]) + cardinality($3::bigint[]) + cardinality($4::text[]) + cardinality($5::text[]) > 0",
        "INSERT INTO data.conversations
             (user_id, id, number, sender_type, message_text, key_id, created_at, updated_at)
         SELECT person, id, number, 'user', message_text, key_id, now(), now()
         FROM unnest($1::uuid[], $2::uuid[], $3::bigint[], $4::text[], $5::text[])
             AS new (person, id, number, message_text, key_id)",
        "INSERT INTO data.analysis_jobs
             (user_id, id, first_number, last_number, requested, priority, start_after, created_at)
         SELECT user_id, gen_random_uuid(), number, number, false, 0, now(), now()
         FROM data.conversations
         WHERE cardinality($1::uuid[]) + cardinality($2::uuid[]) + cardinality($3::bigint[]) + cardinality($4::text[])
             + cardinality($5::text[]) > 0",
    ] {
        sqlx::query(sql)
            .bind(&people)
            .bind(&ids)
            .bind(&numbers)
            .bind(&texts)
            .bind(&key_ids)
            .execute(&mut database)
            .await
            .unwrap();
    }
}

/// Leases and completes jobs until there are none.
async fn work(worker: &Client, done: &AtomicUsize) {
    loop {
        let jobs = lease(worker, &lease_request()).await.unwrap();
        if jobs.is_empty() {
            return;
        }
        let completions = jobs.into_iter().map(|job| async move {
            let held = job.lease.unwrap();
            let [message] = job.messages.as_slice() else {
                panic!("{} messages", job.messages.len())
            };
            let person = held.user_id.parse().unwrap();
            assert_eq!(message.text, text_of(person, job.first_number as usize));
            complete(worker, &held).await.unwrap();
        });
        done.fetch_add(join_all(completions).await.len(), Relaxed);
    }
}

#[tokio::test]
async fn ten_thousand_jobs_are_each_done_once() {
    let stack = Stack::builder()
        .admit("data", "another=analysis")
        .start()
        .await
        .unwrap();
    let ports = [(); 3].map(|()| Port::reserve().unwrap());
    let replica = replica(&stack.data, &ports).await;
    insert_people_and_jobs(&stack).await;
    let own = stack.service("worker").unwrap();
    let other = Client::new(
        &stack.certificates,
        Some("another"),
        stack.identity.listeners,
        replica.listeners,
    )
    .unwrap();
    let counts: [AtomicUsize; WORKERS] = Default::default();
    let began = Instant::now();
    let workers = counts.iter().enumerate().map(|(number, count)| {
        let worker = [&own, &other][number % 2];
        work(worker, count)
    });
    timeout(LIMIT, join_all(workers))
        .await
        .expect("the jobs are done in time");
    let counts = counts.map(AtomicUsize::into_inner);
    let seconds = began.elapsed().as_secs_f64();
    eprintln!(
        "{JOBS} jobs in {seconds:.1} s ({:.0} a second), by worker: {counts:?}",
        JOBS as f64 / seconds
    );
    assert_eq!(counts.iter().sum::<usize>(), JOBS);
    assert!(counts.iter().all(|count| *count > 0), "{counts:?}");
    let rows: String = scalar(
        &stack.database,
        "SELECT concat_ws(' ', count(*), count(r.id), min(attempts), max(attempts), min(state), max(state))
         FROM data.analysis_jobs AS j LEFT JOIN data.analysis_results AS r USING (user_id, id)",
    )
    .await;
    assert_eq!(rows, format!("{JOBS} {JOBS} 1 1 done done"));
}
