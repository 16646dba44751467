//! The rate limit of each person's mutations.

use futures_util::future::join_all;
use haven_proto::data::v1::SenderType;
use haven_testkit::{Client, Stack};
use tonic::Status;
use tonic_types::StatusExt;

use super::{message, say};
use crate::{
    status::reason,
    superuser_sql::{execute, scalar_with},
    test_device::Device,
};

async fn limited_stack() -> Stack {
    // Five at once, and then one an hour: no more is admitted while a test runs.
    Stack::builder()
        .variable("data", "MUTATION_LIMIT", "5/5h")
        .start()
        .await
        .unwrap()
}

/// Appends without retries: RATE_LIMITED would be retried.
async fn append_once(client: &Client, text: &str) -> Result<(), Status> {
    client
        .conversation()
        .append_message(message(SenderType::User, text))
        .await
        .map(drop)
}

#[tokio::test]
async fn a_person_makes_as_many_mutations_as_the_limit_admits() {
    let stack = limited_stack().await;
    let ada = Device::invent(&stack).await.unwrap();
    // Registering the device was the first mutation.
    let calls = join_all((0..12).map(|_| append_once(&ada.client, "hello"))).await;
    assert_eq!(calls.iter().filter(|call| call.is_ok()).count(), 4);
    for refused in calls.iter().filter_map(|call| call.as_ref().err()) {
        assert_eq!(reason(refused), "RATE_LIMITED");
        let details = refused.get_error_details();
        let wait = details.retry_info().unwrap().retry_delay.unwrap();
        assert!((3_000..=3_600).contains(&wait.as_secs()), "{wait:?}");
        let violations = &details.quota_failure().unwrap().violations;
        assert_eq!(violations[0].subject, "mutations");
        assert_eq!(
            violations[0].description,
            "At most 5 at once, and then at the configured rate"
        );
    }
    // Refused calls have used up nothing, and have stored nothing.
    let until = "SELECT extract(epoch FROM mutations_until - now())::bigint FROM data.usage_counters WHERE user_id = $1";
    let until: i64 = scalar_with(&stack.database, until, ada.person.id).await;
    assert!((17_900..=18_000).contains(&until), "{until}");
    let stored = "SELECT count(*) FROM data.conversations WHERE user_id = $1";
    assert_eq!(
        scalar_with::<i64, _>(&stack.database, stored, ada.person.id).await,
        4
    );

    let bob = Device::invent(&stack).await.unwrap();
    append_once(&bob.client, "hello").await.unwrap();
    say(&bob.client, "hello").await.unwrap();
}

#[tokio::test]
async fn retries_and_services_are_not_limited() {
    let stack = limited_stack().await;
    let ada = Device::invent(&stack).await.unwrap();
    let first = message(SenderType::User, "hello");
    let mut conversation = ada.client.conversation();
    let answer = conversation
        .append_message(first.clone())
        .await
        .unwrap()
        .into_inner();
    while append_once(&ada.client, "hello").await.is_ok() {}
    for _ in 0..20 {
        let again = conversation
            .append_message(first.clone())
            .await
            .unwrap()
            .into_inner();
        assert_eq!(again, answer);
    }
    let coach = stack
        .service("backend")
        .unwrap()
        .with_token(&ada.person.token)
        .unwrap();
    let request = message(SenderType::Coach, "hello");
    coach.conversation().append_message(request).await.unwrap();
}

#[tokio::test]
async fn a_limit_that_was_relaxed_applies_at_once() {
    let stack = limited_stack().await;
    let ada = Device::invent(&stack).await.unwrap();
    while append_once(&ada.client, "hello").await.is_ok() {}
    // As if a stricter limit had been in force.
    let stricter = "UPDATE data.usage_counters SET mutations_until = now() + interval '30 days'";
    execute(&stack.database, stricter).await;
    append_once(&ada.client, "hello").await.unwrap();
    let refused = append_once(&ada.client, "hello").await.unwrap_err();
    let wait = refused
        .get_error_details()
        .retry_info()
        .unwrap()
        .retry_delay
        .unwrap();
    assert!((3_500..=3_600).contains(&wait.as_secs()), "{wait:?}");
    // Once in an hour, so that two replicas with different limits do not give new bursts by turns.
    execute(&stack.database, stricter).await;
    let refused = append_once(&ada.client, "hello").await.unwrap_err();
    let wait = refused
        .get_error_details()
        .retry_info()
        .unwrap()
        .retry_delay
        .unwrap();
    assert!((3_500..=3_600).contains(&wait.as_secs()), "{wait:?}");
    let hour_ago =
        "UPDATE data.usage_counters SET mutations_reset_at = mutations_reset_at - interval '1 hour'";
    execute(&stack.database, hour_ago).await;
    append_once(&ada.client, "hello").await.unwrap();
}
