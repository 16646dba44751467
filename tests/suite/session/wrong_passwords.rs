//! SignIn with wrong passwords: attempts on the same email address have to wait, and the right password ends the wait.

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

/// Sends wrong passwords until an attempt is refused with RATE_LIMITED. Returns the number of attempts before that, and the
/// refusal.
async fn until_limited(client: &Client, email: &str) -> (usize, Status) {
    for count in 0..10 {
        let status = guess(client, email).await;
        if reason(&status) == "RATE_LIMITED" {
            return (count, status);
        }
        assert_eq!(reason(&status), "CREDENTIALS_INVALID");
    }
    panic!("ten wrong passwords were checked without a wait");
}

/// Returns the delay that the refusal announces.
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
async fn after_five_wrong_passwords_the_next_attempt_has_to_wait() {
    let stack = Stack::start().await.unwrap();
    let anonymous = stack.anonymous().unwrap();
    let (ada, bob) = (stack.person().await.unwrap(), stack.person().await.unwrap());
    let (count, status) = until_limited(&anonymous, &ada.email).await;
    // Exactly five, unless the machine takes a second for one attempt: then the first wait has passed already.
    assert!((5..=8).contains(&count), "{count}");
    let wait = delay(&status);
    let longest = Duration::from_secs(1 << (count - 5));
    assert!(wait <= longest && !wait.is_zero(), "{wait:?}");

    // The right password has to wait as well. Other people do not.
    let right = sign_in(&anonymous, credentials(&ada.email, &ada.password)).await;
    let status = right.unwrap_err();
    assert_eq!(reason(&status), "RATE_LIMITED");
    another(&stack, &bob).await;
    tokio::time::sleep(delay(&status) + Duration::from_millis(10)).await;
    another(&stack, &ada).await;
    let left: i64 = scalar(&stack.database, "SELECT count(*) FROM identity.failures").await;
    assert_eq!(left, 0, "the right password resets the count");
    for _ in 0..4 {
        assert_eq!(
            reason(&guess(&anonymous, &ada.email).await),
            "CREDENTIALS_INVALID"
        );
    }
    another(&stack, &ada).await;

    let log = audit_log(&stack, ada.id).await;
    assert_eq!(
        log.matches("sign_in refused").count(),
        count + 4,
        "{log}: one event for each attempt that was checked"
    );
}

#[tokio::test]
async fn an_address_without_an_account_is_limited_in_the_same_way() {
    let stack = Stack::start().await.unwrap();
    let anonymous = stack.anonymous().unwrap();
    let ada = stack.person().await.unwrap();
    let (guesses_at_known, of_known) = until_limited(&anonymous, &ada.email).await;
    let (guesses_at_unknown, of_unknown) = until_limited(&anonymous, "unknown@example.org").await;
    assert!(
        (5..=8).contains(&guesses_at_known) && (5..=8).contains(&guesses_at_unknown),
        "{guesses_at_known}, {guesses_at_unknown}"
    );
    assert_eq!(of_known.message(), of_unknown.message());
    assert_eq!(of_known.code(), of_unknown.code());
    delay(&of_unknown);
    // Another spelling of the same address counts as the same.
    let status = guess(&anonymous, "UNKNOWN@Example.ORG").await;
    assert_eq!(reason(&status), "RATE_LIMITED");
    let log: i64 = scalar(
        &stack.database,
        "SELECT count(DISTINCT user_id) FROM identity.security_audit_log",
    )
    .await;
    assert_eq!(log, 1, "an unknown address has no audit log");
}

#[tokio::test]
async fn a_wrong_password_is_counted_also_when_its_caller_disconnects() {
    let stack = Stack::start().await.unwrap();
    let anonymous = stack.anonymous().unwrap();
    let ada = stack.person().await.unwrap();
    // The table of failures is locked, so each password has been checked when its caller disconnects.
    let mut holder = stack.database.connect("postgres").await.unwrap();
    sqlx::raw_sql("BEGIN; LOCK TABLE identity.failures IN SHARE MODE")
        .execute(&mut holder)
        .await
        .unwrap();
    for guesses in 1..=3 {
        let counting = eventually("the failure waits to be counted", async || {
            let waiting: i64 = scalar(
                &stack.database,
                "SELECT count(*) FROM pg_stat_activity WHERE datname = current_database()
                    AND wait_event_type = 'Lock' AND query LIKE '%SignIn.failed%'",
            )
            .await;
            waiting == guesses
        });
        tokio::select! {
            status = guess(&anonymous, &ada.email) => panic!("answered before it was counted: {status:?}"),
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
async fn an_unusable_stored_hash_counts_as_a_wrong_password() {
    let stack = Stack::start().await.unwrap();
    let anonymous = stack.anonymous().unwrap();
    let ada = stack.person().await.unwrap();
    // Parameters that ask for 4 GiB of memory.
    execute(
        &stack.database,
        "UPDATE identity.users SET password_hash =
            '$argon2id$v=19$m=4194304,t=2,p=1$c29tZXNhbHRzb21lc2FsdA$MTIzNDU2Nzg5MDEyMzQ1Njc4OTAxMjM0NTY3ODkwMTI'",
    )
    .await;
    let attempt = sign_in(&anonymous, credentials(&ada.email, &ada.password)).await;
    assert_eq!(reason(&attempt.unwrap_err()), "CREDENTIALS_INVALID");
    let counted: i64 = scalar(
        &stack.database,
        "SELECT max(count)::bigint FROM identity.failures",
    )
    .await;
    assert_eq!(counted, 1);
    assert!(audit_log(&stack, ada.id).await.ends_with("sign_in refused"));
    // The log shows the operator the cause.
    let log = stack.identity.output().unwrap();
    assert!(log.contains("CREDENTIALS_INVALID") && !log.contains("c29tZXNhbHRzb21lc2FsdA"));
}
