//! A refused call does not write its content: it is refused before the row, and a push that is rolled back counts as a mutation.

use haven_proto::data::v1::{ChangeOutcome, PushChangesRequest, PushChangesResponse, PushMode};
use haven_testkit::{Client, Stack, random};
use tonic::Status;

use super::{push, say, share_request, small_stack};
use crate::{
    retry::retry_call,
    status::{metadata, reason},
    superuser_sql::{execute, scalar},
    test_device::Device,
};

/// The size of the tables with content in bytes, also of what transactions wrote that were rolled back.
const SIZE: &str = "SELECT (pg_total_relation_size('data.healthcare_share') + pg_total_relation_size('data.conversations')
    + pg_total_relation_size('data.encrypted_cycle_data') + pg_total_relation_size('data.cycle_data_conflicts'))::bigint";

/// Sends a record and a change that loses, all or nothing.
async fn lose(device: &Device, taken: uuid::Uuid) -> Result<PushChangesResponse, Status> {
    let request = PushChangesRequest {
        device_id: device.id.to_string(),
        changes: vec![
            device.put(random::uuid(), 0, "content").unwrap(),
            device.put(taken, 0, "lost").unwrap(),
        ],
        mode: PushMode::Atomic.into(),
        request_id: random::uuid().to_string(),
    };
    Ok(device.client.cycle().push_changes(request).await?.into_inner())
}

async fn share(client: &Client, device: &Device, content: &str) -> Result<(), Status> {
    let request = share_request(device, content);
    retry_call(request, async |request| {
        client.share().create_share(request).await
    })
    .await
    .map(drop)
}

#[tokio::test]
async fn calls_over_a_quota_write_no_content() {
    let stack = small_stack().await;
    let ada = Device::invent(&stack).await.unwrap();
    while say(&ada.client, "hello").await.is_ok() {}
    while push(&ada, vec![ada.put(random::uuid(), 0, "content").unwrap()])
        .await
        .is_ok()
    {}
    let large = random::uuid().to_string().repeat(500);
    share(&ada.client, &ada, "shared").await.unwrap();
    let before: i64 = scalar(&stack.database, SIZE).await;
    for _ in 0..20 {
        // Neither the rows of shares nor their bytes are used up: this content is too large for what is left.
        let refused = share(&ada.client, &ada, &large).await.unwrap_err();
        assert_eq!(metadata(&refused, "quota"), "share_bytes");
        let refused = say(&ada.client, &large[..1_900]).await.unwrap_err();
        assert_eq!(reason(&refused), "QUOTA_EXCEEDED");
        let put = ada.put(random::uuid(), 0, &large).unwrap();
        let refused = push(&ada, vec![put]).await.unwrap_err();
        assert_eq!(reason(&refused), "QUOTA_EXCEEDED");
    }
    let after: i64 = scalar(&stack.database, SIZE).await;
    assert_eq!(after, before);
}

#[tokio::test]
async fn calls_over_the_rate_limit_write_no_content() {
    let stack = Stack::builder()
        .variable("data", "MUTATION_LIMIT", "3/3h")
        .start()
        .await
        .unwrap();
    let ada = Device::invent(&stack).await.unwrap();
    // After the registration of the device, the second and the third mutation.
    for _ in 0..2 {
        say(&ada.client, "hello").await.unwrap();
    }
    let large = random::uuid().to_string().repeat(500);
    let before: i64 = scalar(&stack.database, SIZE).await;
    for _ in 0..20 {
        let request = share_request(&ada, &large);
        let refused = ada.client.share().create_share(request).await.unwrap_err();
        assert_eq!(reason(&refused), "RATE_LIMITED");
    }
    let after: i64 = scalar(&stack.database, SIZE).await;
    assert_eq!(after, before);
}

#[tokio::test]
async fn pushes_that_are_rolled_back_count_as_mutations() {
    let stack = Stack::builder()
        .variable("data", "MUTATION_LIMIT", "6/6h")
        .start()
        .await
        .unwrap();
    let ada = Device::invent(&stack).await.unwrap();
    let taken = random::uuid();
    push(&ada, vec![ada.put(taken, 0, "content").unwrap()])
        .await
        .unwrap();
    for _ in 0..4 {
        let lost = lose(&ada, taken).await.unwrap();
        assert_eq!(lost.results[1].outcome(), ChangeOutcome::Conflict);
    }
    let refused = lose(&ada, taken).await.unwrap_err();
    assert_eq!(reason(&refused), "RATE_LIMITED");
    let again = "UPDATE data.usage_counters SET mutations_until = NULL";
    execute(&stack.database, again).await;
    lose(&ada, taken).await.unwrap();
}
