//! Wrong passwords slow an account down, lock nobody out for ever, and are nobody else's business.

use std::time::Duration;

use haven_testkit::{Client, Stack};
use tonic::Status;
use tonic_types::StatusExt;

use super::{another, audit_log, credentials, guess, sign_in};
use crate::{
    eventually::eventually,
    status::reason,
    superuser_sql::{execute, scalar},
};

/// Guesses until an attempt is not let through: how many guesses were, and what the next one was answered.
async fn until_limited(client: &Client, email: &str) -> (usize, Status) {
    for count in 0..10 {
        let status = guess(client, email).await;
        if reason(&status) == "RATE_LIMITED" {
            return (count, status);
        }
        assert_eq!(reason(&status), "CREDENTIALS_INVALID");
    }
    panic!("nothing slows it down");
}

/// For how long to wait, by the word of the refusal.
fn delay(status: &Status) -> Duration {
    let details = status.get_error_details();
    let subjects: Vec<_> = details
        .quota_failure()
        .unwrap()
        .violations
        .iter()
        .map(|quota| quota.subject.clone())
        .collect();
    assert_eq!(subjects, ["failures"]);
    details.retry_info().unwrap().retry_delay.unwrap()
}

#[tokio::test]
async fn from_the_fifth_wrong_password_on_one_waits() {
    let stack = Stack::start().await.unwrap();
    let nobody = stack.anonymous().unwrap();
    let (ada, bob) = (stack.person().await.unwrap(), stack.person().await.unwrap());
    let (count, status) = until_limited(&nobody, &ada.email).await;
    // Five at a machine's own pace. A machine that takes a second for one has let the first wait pass.
    assert!((5..=8).contains(&count), "{count}");
    let wait = delay(&status);
    let longest = Duration::from_secs(1 << (count - 5));
    assert!(wait <= longest && !wait.is_zero(), "{wait:?}");

    // Whose password it is waits as well, and nobody else does.
    let right = sign_in(&nobody, credentials(&ada.email, &ada.password)).await;
    let status = right.unwrap_err();
    assert_eq!(reason(&status), "RATE_LIMITED");
    another(&stack, &bob).await;
    tokio::time::sleep(delay(&status) + Duration::from_millis(10)).await;
    another(&stack, &ada).await;
    let left: i64 = scalar(&stack.database, "SELECT count(*) FROM identity.failures").await;
    assert_eq!(left, 0, "the right password makes the wrong ones forgotten");
    for _ in 0..4 {
        assert_eq!(reason(&guess(&nobody, &ada.email).await), "CREDENTIALS_INVALID");
    }
    another(&stack, &ada).await;

    let log = audit_log(&stack).await;
    assert_eq!(
        log.matches("sign_in refused").count(),
        count + 4,
        "{log}: those that were let through"
    );
}

#[tokio::test]
async fn an_address_without_an_account_is_slowed_down_alike() {
    let stack = Stack::start().await.unwrap();
    let nobody = stack.anonymous().unwrap();
    let ada = stack.person().await.unwrap();
    let (known, of_known) = until_limited(&nobody, &ada.email).await;
    let (unknown, of_unknown) = until_limited(&nobody, "nobody@example.org").await;
    assert!(
        (5..=8).contains(&known) && (5..=8).contains(&unknown),
        "{known}, {unknown}"
    );
    assert_eq!(of_known.message(), of_unknown.message());
    assert_eq!(of_known.code(), of_unknown.code());
    delay(&of_unknown);
    // Another spelling of it is the same address.
    let status = guess(&nobody, "NOBODY@Example.ORG").await;
    assert_eq!(reason(&status), "RATE_LIMITED");
    let log: i64 = scalar(
        &stack.database,
        "SELECT count(DISTINCT user_id) FROM identity.security_audit_log",
    )
    .await;
    assert_eq!(log, 1, "there is no log of nobody");
}

#[tokio::test]
async fn a_guess_is_counted_also_when_its_caller_hangs_up() {
    let stack = Stack::start().await.unwrap();
    let nobody = stack.anonymous().unwrap();
    let ada = stack.person().await.unwrap();
    // Where wrong passwords are counted is held, so each guess has been judged when its caller goes.
    let mut holder = stack.database.connect("postgres").await.unwrap();
    sqlx::raw_sql("BEGIN; LOCK TABLE identity.failures IN SHARE MODE")
        .execute(&mut holder)
        .await
        .unwrap();
    for guesses in 1..=3 {
        let counting = eventually("it is about to be counted", async || {
            let waiting: i64 = scalar(
                &stack.database,
                "SELECT count(*) FROM pg_stat_activity WHERE datname = current_database()
                    AND wait_event_type = 'Lock' AND query LIKE '%SignIn.failed%'",
            )
            .await;
            waiting == guesses
        });
        tokio::select! {
            status = guess(&nobody, &ada.email) => panic!("answered before it was counted: {status:?}"),
            () = counting => {}
        }
    }
    sqlx::raw_sql("COMMIT").execute(&mut holder).await.unwrap();
    eventually("all three are counted", async || {
        let counted: Option<i64> = scalar(
            &stack.database,
            "SELECT max(count)::bigint FROM identity.failures",
        )
        .await;
        counted == Some(3)
    })
    .await;
}

#[tokio::test]
async fn a_hash_that_cannot_be_checked_is_a_wrong_password_that_is_counted() {
    let stack = Stack::start().await.unwrap();
    let nobody = stack.anonymous().unwrap();
    let ada = stack.person().await.unwrap();
    // 4 GiB: whoever put it there wants the server to choke on it.
    execute(
        &stack.database,
        "UPDATE identity.users SET password_hash =
            '$argon2id$v=19$m=4194304,t=2,p=1$c29tZXNhbHRzb21lc2FsdA$MTIzNDU2Nzg5MDEyMzQ1Njc4OTAxMjM0NTY3ODkwMTI'",
    )
    .await;
    let attempt = sign_in(&nobody, credentials(&ada.email, &ada.password)).await;
    assert_eq!(reason(&attempt.unwrap_err()), "CREDENTIALS_INVALID");
    let counted: i64 = scalar(
        &stack.database,
        "SELECT max(count)::bigint FROM identity.failures",
    )
    .await;
    assert_eq!(counted, 1);
    assert!(audit_log(&stack).await.ends_with("sign_in refused"));
    // The operator learns why.
    let log = stack.identity.output().unwrap();
    assert!(log.contains("CREDENTIALS_INVALID") && !log.contains("c29tZXNhbHRzb21lc2FsdA"));
}
