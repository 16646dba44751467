//! Retries of ProvisionUser: a person is provisioned once.

use haven_proto::data::v1::ProvisionUserRequest;
use haven_testkit::{Client, Stack, random};
use prost_types::Timestamp;

use crate::{concurrently::concurrently, retry::retry_call, superuser_sql::scalar_with};

/// Returns a request to provision a new person.
fn new_person() -> ProvisionUserRequest {
    ProvisionUserRequest {
        user_id: random::uuid().to_string(),
        request_id: random::uuid().to_string(),
    }
}

/// Calls ProvisionUser with retries, and returns the creation time.
async fn provision(client: &Client, request: &ProvisionUserRequest) -> Timestamp {
    let mut people = client.person();
    let answer = retry_call(request.clone(), async |request| {
        people.provision_user(request).await
    });
    answer.await.unwrap().create_time.unwrap()
}

/// Counts those of `people` that data has provisioned.
async fn provisioned(stack: &Stack, people: &[String]) -> i64 {
    let sql = "SELECT count(*) FROM data.users WHERE id::text = ANY ($1)";
    scalar_with(&stack.database, sql, people.to_vec()).await
}

#[tokio::test]
async fn a_provisioned_person_keeps_their_creation_time() {
    let stack = Stack::shared().await.unwrap();
    let identity = stack.service("identity").unwrap();
    let request = new_person();
    let since = provision(&identity, &request).await;
    assert_eq!(provision(&identity, &request).await, since);
    // The outbox deletes delivered messages, so the person may be provisioned again under another request id.
    let another = ProvisionUserRequest {
        request_id: random::uuid().to_string(),
        ..request.clone()
    };
    assert_eq!(provision(&identity, &another).await, since);
    assert_eq!(provisioned(stack, &[request.user_id]).await, 1);
}

#[tokio::test]
async fn concurrent_retries_provision_one_person() {
    let stack = Stack::shared().await.unwrap();
    let identity = stack.service("identity").unwrap();
    let mut people = Vec::new();
    for expected in 1..=5 {
        let request = new_person();
        concurrently(20, || provision(&identity, &request)).await;
        people.push(request.user_id);
        assert_eq!(provisioned(stack, &people).await, expected);
    }
}
