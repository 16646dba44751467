//! data is down: people sign up all the same, and are known to it as soon as it is back.

use std::time::{Duration, Instant};

use haven_testkit::{Stack, client::sign_up_request, port::Port};
use tonic::Request;

use super::{append, retryable};
use crate::{eventually::eventually, superuser_sql::scalar};

const PASSWORD: &str = "Correct-Horse-7-Battery";

/// How many accounts data has not been told of.
async fn untold(stack: &Stack) -> i64 {
    scalar(&stack.database, "SELECT count(*) FROM identity.outbox").await
}

/// Waits until data was told everything, and sees that it knows exactly those who have an account.
async fn everybody_becomes_known(stack: &Stack) {
    eventually("data is told of everybody", async || untold(stack).await == 0).await;
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
async fn who_signs_up_meanwhile_is_known_when_it_comes_up_and_when_it_comes_back() {
    let mut stack = Stack::builder().without("data").start().await.unwrap();
    let nobody = stack.anonymous().unwrap();
    let mut took = Vec::new();
    for i in 0..3 {
        let began = Instant::now();
        let request = sign_up_request(&format!("person-{i}@example.org"), PASSWORD);
        nobody.account().sign_up(request).await.unwrap();
        took.push(began.elapsed());
    }
    // Nobody listens there, which is known at once.
    assert!(took.iter().min() < Some(&Duration::from_secs(1)), "{took:?}");
    assert_eq!(untold(&stack).await, 3);
    eventually("it is noted why", async || {
        scalar::<i64>(
            &stack.database,
            "SELECT count(*) FROM identity.outbox WHERE last_error = 'DEPENDENCY_UNAVAILABLE'",
        )
        .await
            == 3
    })
    .await;

    stack.data.start().await.unwrap();
    everybody_becomes_known(&stack).await;
    let ada = nobody.sign_in("person-0@example.org", PASSWORD).await.unwrap();
    let ada = stack.user(&ada).unwrap();
    append(&ada).await.unwrap();

    stack.data.kill();
    let bob = stack.person().await.unwrap();
    assert_eq!(untold(&stack).await, 1);
    stack.data.start().await.unwrap();
    everybody_becomes_known(&stack).await;
    append(&stack.user(&bob).unwrap()).await.unwrap();
    append(&ada).await.unwrap();
}

#[tokio::test]
async fn whom_it_does_not_know_yet_it_asks_for_patience() {
    // identity looks for data where nobody listens, so that data is there for everybody else.
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
    assert_eq!(untold(&stack).await, 1);

    let right = format!("https://localhost:{}", stack.data.listeners.api);
    stack.identity.kill();
    stack.identity.variables.insert("DATA_URL".to_owned(), right);
    stack.identity.start().await.unwrap();
    everybody_becomes_known(&stack).await;
    append(&client).await.unwrap();
}

#[tokio::test]
async fn while_it_hangs_nobody_waits_for_it_longer_than_they_can() {
    let mut stack = Stack::start().await.unwrap();
    let nobody = stack.anonymous().unwrap();
    // The first person makes identity connect.
    stack.person().await.unwrap();
    stack.data.pause();
    let sign_up = async |name: &str, deadline| {
        let message = sign_up_request(&format!("{name}@example.org"), PASSWORD);
        let mut request = Request::new(message);
        request.set_timeout(deadline);
        nobody.account().sign_up(request).await
    };
    // Those who have time wait for as long as one attempt may take, and no longer.
    let began = Instant::now();
    sign_up("ada", Duration::from_secs(9)).await.unwrap();
    assert!(began.elapsed() < Duration::from_secs(5), "{:?}", began.elapsed());
    // Those who have less than that have their answer in time. What is kept for the answer is a tenth of a second,
    // which on a busy machine is not always enough.
    let mut in_time = false;
    for name in ["bob", "cat", "dan"] {
        in_time = in_time || sign_up(name, Duration::from_millis(1_500)).await.is_ok();
    }
    assert!(in_time, "nobody had an answer in time");
    assert!(untold(&stack).await >= 2);
    stack.data.resume();
    everybody_becomes_known(&stack).await;
}
