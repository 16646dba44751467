//! Sign-ups and deletions while the command runs: it takes none of them for a difference.

use std::{
    pin::pin,
    sync::atomic::{AtomicBool, Ordering},
    time::Duration,
};

use haven_testkit::{Stack, random};
use sqlx::{AssertSqlSafe, raw_sql};
use tokio::time::timeout;

use super::{append, erase, reconciled, state};
use crate::{eventually::eventually, superuser_sql::scalar};

/// The number of runs of the command.
const RUNS: usize = 12;

/// The number of people who sign up and are erased at the same time.
const CALLERS: usize = 3;

#[tokio::test]
async fn people_who_sign_up_or_are_erased_meanwhile_are_left_alone() {
    let stack = Stack::start().await.unwrap();
    let ends = AtomicBool::new(false);
    let lives = async || {
        let (mut living, mut erased) = (Vec::new(), Vec::new());
        while !ends.load(Ordering::Relaxed) {
            let person = stack.person().await.unwrap();
            // No person is locked at any moment: a locked person's message would be refused.
            append(&stack.user(&person).unwrap(), "hello").await.unwrap();
            if living.len() > erased.len() {
                erase(&stack, &person).await;
                erased.push(person);
            } else {
                living.push(person);
            }
        }
        (living, erased)
    };
    let runs = async {
        for _ in 0..RUNS {
            // No person is too new to be judged: only the order of the looks protects them.
            let run = reconciled(&stack, &["--apply", "--max-orphans", "100"]).await;
            for name in [
                "lock",
                "unlock",
                "erase-account",
                "keep-receipt",
                "erase-in-data",
                "provision",
            ] {
                assert!(run.people(name).is_empty(), "{name}: {run:?}");
            }
        }
        ends.store(true, Ordering::Relaxed);
    };
    let callers = futures_util::future::join_all((0..CALLERS).map(|_| lives()));
    let ((), lives) = tokio::join!(runs, callers);
    let (mut alive, mut gone) = (0, 0);
    for (living, erased) in lives {
        for person in &living {
            assert_eq!(state(&stack, person.id).await, "account person");
        }
        for person in &erased {
            assert_eq!(state(&stack, person.id).await, "receipt tombstone");
        }
        alive += living.len() as u64;
        gone += erased.len() as u64;
    }
    assert!(alive > 0 && gone > 0, "{alive} {gone}");
    let locked: i64 = scalar(&stack.database, "SELECT count(locked_at) FROM data.users").await;
    assert_eq!(locked, 0);
    let agreed = reconciled(&stack, &[]).await;
    assert_eq!(agreed.count("agree"), alive + gone);
}

#[tokio::test]
async fn a_first_sign_in_with_another_provider_waits_for_an_erasure_and_finds_it() {
    let stack = Stack::start().await.unwrap();
    let person = random::uuid();
    let begin = |role| {
        AssertSqlSafe(format!(
            "BEGIN; SET LOCAL ROLE identity_{role}; \
             SELECT set_config('request.jwt.claims', '{{\"sub\":\"{person}\"}}', true)"
        ))
    };
    let mut erasing = stack.database.connect("postgres").await.unwrap();
    raw_sql(begin("service")).execute(&mut erasing).await.unwrap();
    let erase = "SELECT identity.erase_again(gen_random_uuid(), 'identity', now(), now())";
    raw_sql(erase).execute(&mut erasing).await.unwrap();
    let mut signing = stack.database.connect("postgres").await.unwrap();
    raw_sql(begin("user")).execute(&mut signing).await.unwrap();
    let make = "SELECT identity.make_external_account(gen_random_uuid(), now(), now())";
    let mut making = pin!(raw_sql(make).execute(&mut signing));
    assert!(timeout(Duration::from_millis(500), &mut making).await.is_err());
    raw_sql("COMMIT").execute(&mut erasing).await.unwrap();
    let refused = making.await.unwrap_err().to_string();
    assert!(refused.contains("the account was erased"), "{refused}");
    eventually("the erasure is complete", async || {
        state(&stack, person).await == "receipt tombstone"
    })
    .await;
}
