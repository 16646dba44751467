//! data is down: sign-ups succeed, and the people are provisioned as soon as data is back.

use std::time::{Duration, Instant};

use haven_testkit::{Stack, client::sign_up_request, port::Port};
use tonic::Request;

use super::{append, retryable};
use crate::{eventually::eventually, superuser_sql::scalar};

const PASSWORD: &str = "Correct-Horse-7-Battery";

/// Returns the number of undelivered messages in the outbox.
async fn undelivered(stack: &Stack) -> i64 {
    scalar(&stack.database, "SELECT count(*) FROM identity.outbox").await
}

/// Waits until the outbox is empty, and checks that exactly the people with an account are provisioned.
async fn all_accounts_are_provisioned(stack: &Stack) {
    eventually("the outbox is empty", async || undelivered(stack).await == 0).await;
    let accounts: Vec<String> = scalar(
        &stack.database,
        "SELECT array_agg(id::text ORDER BY id) FROM identity.users",
    )
    .await;
    let people: Vec<String> = scalar(
        &stack.database,
        "SELECT array_agg(id::text ORDER BY id) FROM data.users",
    )
    .await;
    assert_eq!(people, accounts);
}

#[tokio::test]
async fn people_who_sign_up_while_data_is_down_are_provisioned_when_it_starts() {
    let mut stack = Stack::builder().without("data").start().await.unwrap();
    let anonymous = stack.anonymous().unwrap();
    let mut took = Vec::new();
    for i in 0..3 {
        let began = Instant::now();
        let request = sign_up_request(&format!("person-{i}@example.org"), PASSWORD);
        anonymous.account().sign_up(request).await.unwrap();
        took.push(began.elapsed());
    }
    // No process listens on data's port, so the connection is refused at once.
    assert!(took.iter().min() < Some(&Duration::from_secs(1)), "{took:?}");
    assert_eq!(undelivered(&stack).await, 3);
    eventually("the cause is recorded", async || {
        scalar::<i64>(
            &stack.database,
            "SELECT count(*) FROM identity.outbox WHERE last_error = 'DEPENDENCY_UNAVAILABLE'",
        )
        .await
            == 3
    })
    .await;

    stack.data.start().await.unwrap();
    all_accounts_are_provisioned(&stack).await;
    let ada = anonymous.sign_in("person-0@example.org", PASSWORD).await.unwrap();
    let ada = stack.user(&ada).unwrap();
    append(&ada).await.unwrap();

    stack.data.kill();
    let bob = stack.person().await.unwrap();
    assert_eq!(undelivered(&stack).await, 1);
    stack.data.start().await.unwrap();
    all_accounts_are_provisioned(&stack).await;
    append(&stack.user(&bob).unwrap()).await.unwrap();
    append(&ada).await.unwrap();
}

#[tokio::test]
async fn a_person_not_provisioned_yet_gets_a_retryable_failure() {
    // identity connects to a port without a listener, while data is up for other callers.
    let nowhere = Port::reserve().unwrap();
    let wrong = format!("https://localhost:{}", nowhere.number());
    let mut stack = Stack::builder()
        .variable("identity", "DATA_URL", wrong)
        .start()
        .await
        .unwrap();
    let ada = stack.person().await.unwrap();
    let client = stack.user(&ada).unwrap();
    let status = append(&client).await.unwrap_err();
    assert_eq!(retryable(&status), "ACCOUNT_NOT_READY");
    assert_eq!(undelivered(&stack).await, 1);

    let right = format!("https://localhost:{}", stack.data.listeners.api);
    stack.identity.kill();
    stack.identity.variables.insert("DATA_URL".to_owned(), right);
    stack.identity.start().await.unwrap();
    all_accounts_are_provisioned(&stack).await;
    append(&client).await.unwrap();
}

#[tokio::test]
async fn sign_ups_do_not_wait_for_data_beyond_their_deadline_while_it_hangs() {
    let mut stack = Stack::start().await.unwrap();
    let anonymous = stack.anonymous().unwrap();
    // The first sign-up makes identity connect.
    stack.person().await.unwrap();
    stack.data.pause();
    let sign_up = async |name: &str, deadline| {
        let message = sign_up_request(&format!("{name}@example.org"), PASSWORD);
        let mut request = Request::new(message);
        request.set_timeout(deadline);
        anonymous.account().sign_up(request).await
    };
    // A call with a long deadline waits only for as long as one attempt may take.
    let began = Instant::now();
    sign_up("ada", Duration::from_secs(9)).await.unwrap();
    assert!(began.elapsed() < Duration::from_secs(5), "{:?}", began.elapsed());
    // A call with a shorter deadline is answered in time. A tenth of a second is reserved for the response, which is not
    // always enough on a busy machine.
    let mut in_time = false;
    for name in ["bob", "cat", "dan"] {
        in_time = in_time || sign_up(name, Duration::from_millis(1_500)).await.is_ok();
    }
    assert!(in_time, "no call was answered in time");
    assert!(undelivered(&stack).await >= 2);
    stack.data.resume();
    all_accounts_are_provisioned(&stack).await;
}
