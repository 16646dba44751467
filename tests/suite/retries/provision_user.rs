//! ProvisionUser: a person becomes known once.

use haven_proto::data::v1::ProvisionUserRequest;
use haven_testkit::{Client, Stack, random};
use prost_types::Timestamp;

use super::at_once;
use crate::{retry::retry_call, superuser_sql::scalar};

fn someone() -> ProvisionUserRequest {
    ProvisionUserRequest {
        user_id: random::uuid().to_string(),
        request_id: random::uuid().to_string(),
    }
}

async fn provision(client: &Client, request: &ProvisionUserRequest) -> Timestamp {
    let mut people = client.person();
    let answer = retry_call(request.clone(), async |request| {
        people.provision_user(request).await
    });
    answer.await.unwrap().create_time.unwrap()
}

async fn people(stack: &Stack) -> i64 {
    scalar(&stack.database, "SELECT count(*) FROM data.users").await
}

#[tokio::test]
async fn somebody_who_is_known_stays_known_since_the_same_time() {
    let stack = Stack::builder().without("identity").start().await.unwrap();
    let identity = stack.service("identity").unwrap();
    let request = someone();
    let since = provision(&identity, &request).await;
    assert_eq!(provision(&identity, &request).await, since);
    // The outbox forgets what it delivered: a message about the same person under another id changes nothing either.
    let another = ProvisionUserRequest {
        request_id: random::uuid().to_string(),
        ..request
    };
    assert_eq!(provision(&identity, &another).await, since);
    assert_eq!(people(&stack).await, 1);
}

#[tokio::test]
async fn twenty_times_at_once_make_one_person_known() {
    let stack = Stack::builder().without("identity").start().await.unwrap();
    let identity = stack.service("identity").unwrap();
    for expected in 1..=5 {
        let request = someone();
        at_once(20, || provision(&identity, &request)).await;
        assert_eq!(people(&stack).await, expected);
    }
}
