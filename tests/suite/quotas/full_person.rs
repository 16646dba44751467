//! A person at a limit: retries, deletions, concurrent calls, and limits below what is stored.

use futures_util::future::join_all;
use haven_proto::data::v1::{DeleteMessageRequest, DeleteRecordRequest, SenderType};
use haven_testkit::random;
use uuid::Uuid;

use super::{append, change, message, push, say, share_request, small_stack, update, usage};
use crate::{
    retry::retry_call,
    status::{metadata, reason},
    superuser_sql::{execute_with, scalar_with},
    test_device::Device,
};

#[tokio::test]
async fn a_retry_of_an_applied_request_gets_its_first_answer_at_the_limit() {
    let stack = small_stack().await;
    let ada = Device::invent(&stack).await.unwrap();
    let first = message(SenderType::User, "hello");
    let answer = append(&ada.client, first.clone()).await.unwrap();
    let shared = share_request(&ada, "shared");
    let created = ada
        .client
        .share()
        .create_share(shared.clone())
        .await
        .unwrap()
        .into_inner();
    let kept = random::uuid();
    let record = ada.create(kept, "content").unwrap();
    let stored = ada
        .client
        .cycle()
        .create_record(record.clone())
        .await
        .unwrap()
        .into_inner();
    while say(&ada.client, "hello").await.is_ok() {}
    while ada
        .client
        .share()
        .create_share(share_request(&ada, "shared"))
        .await
        .is_ok()
    {}
    while push(&ada, vec![ada.put(random::uuid(), 0, "content").unwrap()])
        .await
        .is_ok()
    {}
    assert_eq!(append(&ada.client, first).await.unwrap(), answer);
    let again = ada
        .client
        .share()
        .create_share(shared)
        .await
        .unwrap()
        .into_inner();
    assert_eq!(again, created);
    let again = ada
        .client
        .cycle()
        .create_record(record)
        .await
        .unwrap()
        .into_inner();
    assert_eq!(again, stored);
}

#[tokio::test]
async fn concurrent_retries_at_the_last_place_all_get_the_first_answer() {
    let stack = small_stack().await;
    let ada = Device::invent(&stack).await.unwrap();
    for _ in 0..3 {
        let request = ada.create(random::uuid(), "content").unwrap();
        ada.client.cycle().create_record(request).await.unwrap();
    }
    let last = ada.create(random::uuid(), "content").unwrap();
    let calls = (0..12).map(|_| {
        retry_call(last.clone(), async |request| {
            ada.client.cycle().create_record(request).await
        })
    });
    let answers = join_all(calls).await;
    let first = answers[0].as_ref().unwrap().record.clone();
    assert!(
        answers
            .iter()
            .all(|answer| answer.as_ref().unwrap().record == first)
    );
}

#[tokio::test]
async fn a_deletion_is_never_refused_and_makes_room() {
    let stack = small_stack().await;
    let ada = Device::invent(&stack).await.unwrap();
    let mut last = say(&ada.client, "hello").await.unwrap();
    while let Ok(said) = say(&ada.client, "hello").await {
        last = said;
    }
    let records: [Uuid; 4] = [(); 4].map(|()| random::uuid());
    for id in records {
        let request = ada.create(id, "content").unwrap();
        ada.client.cycle().create_record(request).await.unwrap();
    }
    // All nonces and all requests are used up, and still everything can be deleted.
    let used = "INSERT INTO data.envelope_nonces (user_id, key_id, key_version, nonce, content_digest, outcome, version, used_at)
        SELECT $1, gen_random_uuid(), 1, decode('aa', 'hex'), sha256('x'), 'applied', 1, now() FROM generate_series(1, 20)";
    execute_with(&stack.database, used, ada.person.id).await;
    let used = "INSERT INTO data.requests (user_id, id, method, payload_mac, answer, created_at)
        SELECT $1, gen_random_uuid(), 'AppendMessage', sha256('x'), '{}', now() FROM generate_series(1, 40)";
    execute_with(&stack.database, used, ada.person.id).await;
    let refused = update(&ada.client, change(&last, "hello")).await.unwrap_err();
    assert_eq!(metadata(&refused, "quota"), "requests");
    let request = ada.update(records[0], 1, "content").unwrap();
    let refused = ada.client.cycle().update_record(request).await.unwrap_err();
    assert_eq!(metadata(&refused, "quota"), "nonces");
    for id in records {
        let request = DeleteRecordRequest {
            device_id: ada.id.to_string(),
            record_id: id.to_string(),
            expected_version: 1,
            request_id: random::uuid().to_string(),
        };
        ada.client.cycle().delete_record(request).await.unwrap();
    }
    let request = DeleteMessageRequest {
        message_id: last.id.clone(),
        request_id: random::uuid().to_string(),
    };
    ada.client.conversation().delete_message(request).await.unwrap();
    let used = usage(&ada.client).await;
    assert_eq!((used["messages"].0, used["record_bytes"].0), (5, 0));
}

#[tokio::test]
async fn concurrent_calls_end_exactly_at_the_limit() {
    let stack = small_stack().await;
    let ada = Device::invent(&stack).await.unwrap();
    let said = join_all((0..20).map(|_| say(&ada.client, "hello"))).await;
    assert_eq!(said.iter().filter(|said| said.is_ok()).count(), 6);
    let records = join_all((0..20).map(|_| {
        let request = ada.create(random::uuid(), "content").unwrap();
        retry_call(request, async |request| {
            ada.client.cycle().create_record(request).await
        })
    }))
    .await;
    assert_eq!(records.iter().filter(|record| record.is_ok()).count(), 4);
    let shares = join_all((0..20).map(|_| {
        retry_call(share_request(&ada, "shared"), async |request| {
            ada.client.share().create_share(request).await
        })
    }))
    .await;
    assert_eq!(shares.iter().filter(|share| share.is_ok()).count(), 3);
    let refused = said.into_iter().filter_map(Result::err);
    let refused = refused.chain(records.into_iter().filter_map(Result::err));
    for status in refused.chain(shares.into_iter().filter_map(Result::err)) {
        assert_eq!(reason(&status), "QUOTA_EXCEEDED");
    }
}

#[tokio::test]
async fn a_push_that_exceeds_a_quota_applies_none_of_its_changes() {
    let stack = small_stack().await;
    let ada = Device::invent(&stack).await.unwrap();
    let puts = |count| {
        (0..count)
            .map(|_| ada.put(random::uuid(), 0, "content").unwrap())
            .collect()
    };
    let refused = push(&ada, puts(5)).await.unwrap_err();
    assert_eq!(metadata(&refused, "quota"), "records");
    assert_eq!(usage(&ada.client).await["records"].0, 0);
    push(&ada, puts(4)).await.unwrap();
}

#[tokio::test]
async fn a_lowered_limit_keeps_what_is_stored_and_refuses_more() {
    let stack = small_stack().await;
    let ada = Device::invent(&stack).await.unwrap();
    // More than the limit of six, as after a change of the configuration.
    let stored = "INSERT INTO data.conversations (user_id, id, number, sender_type, message_text, key_id, created_at, updated_at)
        SELECT $1, gen_random_uuid(), number, 'user', 'gAAAA', 'test-1', now(), now() FROM generate_series(101, 110) AS number";
    execute_with(&stack.database, stored, ada.person.id).await;
    let refused = say(&ada.client, "hello").await.unwrap_err();
    assert_eq!(
        (metadata(&refused, "quota"), metadata(&refused, "used")),
        ("messages".into(), "10".into())
    );
    assert_eq!(usage(&ada.client).await["messages"], (10, 6));
    let count = "SELECT count(*) FROM data.conversations WHERE user_id = $1";
    assert_eq!(
        scalar_with::<i64, _>(&stack.database, count, ada.person.id).await,
        10
    );
}

#[tokio::test]
async fn messages_of_a_service_count_and_its_answers_do_not_limit_it() {
    let stack = small_stack().await;
    let ada = Device::invent(&stack).await.unwrap();
    let used = "INSERT INTO data.requests (user_id, id, method, payload_mac, answer, created_at)
        SELECT $1, gen_random_uuid(), 'AppendMessage', sha256('x'), '{}', now() FROM generate_series(1, 40)";
    execute_with(&stack.database, used, ada.person.id).await;
    let coach = stack
        .service("backend")
        .unwrap()
        .with_token(&ada.person.token)
        .unwrap();
    for _ in 0..6 {
        append(&coach, message(SenderType::Coach, "hello")).await.unwrap();
    }
    let refused = append(&coach, message(SenderType::Coach, "hello"))
        .await
        .unwrap_err();
    assert_eq!(metadata(&refused, "quota"), "messages");
}
