//! A share that has ended keeps its metadata for a time, and neither its content nor its token.

use haven_proto::data::v1::{
    EraseUserRequest, ExportDataRequest, ExportedShare, ListSharesRequest, ShareState,
};
use haven_testkit::{Stack, random};

use super::{Sharer, open, open_share::refusal, unknown_token};
use crate::{
    eventually::eventually,
    metrics::Metrics,
    superuser_sql::{execute, scalar},
};

/// The number of shares with content, and of tokens.
const CONTENTS: &str = "SELECT count(encrypted_payload) FROM data.healthcare_share";
const TOKENS: &str = "SELECT count(*) FROM data.share_token";

async fn contents_and_tokens(stack: &Stack) -> (i64, i64) {
    (
        scalar(&stack.database, CONTENTS).await,
        scalar(&stack.database, TOKENS).await,
    )
}

async fn exported_share(sharer: &Sharer, id: &str) -> ExportedShare {
    let mut client = sharer.client.person();
    let answers = client.export_data(ExportDataRequest::default()).await.unwrap();
    let mut answers = answers.into_inner();
    while let Some(answer) = answers.message().await.unwrap() {
        let mut shares = answer.shares.into_iter();
        if let Some(found) = shares.find(|exported| exported.share.as_ref().unwrap().share_id == id) {
            return found;
        }
    }
    panic!("share {id} is not exported");
}

#[tokio::test]
async fn a_revocation_deletes_content_and_token_at_once() {
    let stack = Stack::start().await.unwrap();
    let ada = Sharer::invent(&stack).await;
    let created = ada.create_share(ada.share_request_with_passcode("1234", 2)).await;
    let kept = ada.create_share(ada.share_request(2)).await;
    open(&stack, &created.token, "1234").await.unwrap();
    let accesses = ada.accesses(&created.id).await;
    let revoked = ada.revoke(&created.id).await.unwrap();
    assert_eq!(contents_and_tokens(&stack).await, (1, 1));
    let hashes = "SELECT count(passcode_hash) FROM data.healthcare_share";
    assert_eq!(scalar::<i64>(&stack.database, hashes).await, 0);
    // The metadata stays.
    assert_eq!(revoked.state(), ShareState::Revoked);
    assert_eq!(
        (ada.share(&created.id).await, ada.accesses(&created.id).await),
        (revoked, accesses)
    );
    let exported = exported_share(&ada, &created.id).await;
    assert!(exported.encrypted_share_data.is_empty() && exported.crypto_envelope.is_none());
    assert!(
        !exported_share(&ada, &kept.id)
            .await
            .encrypted_share_data
            .is_empty()
    );
    let refused = open(&stack, &created.token, "1234").await.unwrap_err();
    let unknown = open(&stack, &unknown_token(), "1234").await.unwrap_err();
    assert_eq!(refusal(&refused), refusal(&unknown));
    open(&stack, &kept.token, "").await.unwrap();
}

#[tokio::test]
async fn the_sweeper_deletes_content_soon_and_metadata_and_events_later() {
    let mut stack = Stack::builder()
        .variable("data", "SHARE_METADATA_DAYS", "30")
        .variable("data", "AUDIT_RETENTION_DAYS", "30")
        .start()
        .await
        .unwrap();
    let ada = Sharer::invent(&stack).await;
    let [active, expired, used_up, just_used_up, locked] = [
        ada.create_share(ada.share_request(1)).await,
        ada.create_share(ada.share_request(1)).await,
        ada.create_share(ada.share_request(1)).await,
        ada.create_share(ada.share_request(1)).await,
        ada.create_share(ada.share_request_with_passcode("1234", 1)).await,
    ];
    open(&stack, &used_up.token, "").await.unwrap();
    open(&stack, &just_used_up.token, "").await.unwrap();
    for _ in 0..5 {
        open(&stack, &locked.token, "1235").await.unwrap_err();
    }
    assert_eq!(contents_and_tokens(&stack).await, (5, 5));
    stack.data.stop();
    let earlier = format!(
        "UPDATE data.healthcare_share SET created_at = now() - interval '1 day', expires_at = now() - interval '11 minutes'
             WHERE id = '{}';
         UPDATE data.healthcare_share SET last_accessed_at = now() - interval '11 minutes' WHERE id = '{}';
         UPDATE data.healthcare_share_audit SET accessed_at = now() - interval '11 minutes' WHERE share_id = '{}'",
        expired.id, used_up.id, locked.id
    );
    execute(&stack.database, &earlier).await;
    stack.data.start().await.unwrap();
    eventually("the ended shares have no content", async || {
        contents_and_tokens(&stack).await == (2, 2)
    })
    .await;
    for (created, state) in [
        (&active, ShareState::Active),
        (&expired, ShareState::Expired),
        (&used_up, ShareState::UsedUp),
        (&just_used_up, ShareState::UsedUp),
        (&locked, ShareState::Locked),
    ] {
        assert_eq!(ada.share(&created.id).await.state(), state);
    }
    assert_eq!(ada.accesses(&locked.id).await.len(), 5);
    let page = Metrics::read(stack.data.listeners.metrics).await;
    let swept = page.sum("haven_swept_rows_total", &[("table", "share_content")]);
    assert_eq!(swept, Some(3.0));
    // After the time for which metadata is kept.
    stack.data.stop();
    let long_ago =
        "UPDATE data.healthcare_share SET ended_at = now() - interval '31 days' WHERE ended_at IS NOT NULL;
        UPDATE data.security_audit_log SET occurred_at = now() - interval '31 days'
            WHERE subject_id IN (SELECT id FROM data.healthcare_share WHERE ended_at IS NOT NULL)";
    execute(&stack.database, long_ago).await;
    stack.data.start().await.unwrap();
    eventually("two shares, their attempts and their events are left", async || {
        let left = "SELECT (SELECT count(*) FROM data.healthcare_share) * 100
            + (SELECT count(*) FROM data.healthcare_share_audit) * 10 + (SELECT count(*) FROM data.security_audit_log)";
        scalar::<i64>(&stack.database, left).await == 212
    })
    .await;
    let listed = ada
        .client
        .share()
        .list_shares(ListSharesRequest::default())
        .await
        .unwrap();
    let mut listed: Vec<_> = listed
        .into_inner()
        .shares
        .into_iter()
        .map(|share| share.share_id)
        .collect();
    listed.sort_unstable();
    let mut expected = [active.id, just_used_up.id];
    expected.sort_unstable();
    assert_eq!(listed, expected);
}

#[tokio::test]
async fn a_receipt_loses_its_counts_and_keeps_its_time() {
    let mut stack = Stack::start().await.unwrap();
    let ada = Sharer::invent(&stack).await;
    let request = EraseUserRequest {
        user_id: ada.person.id.to_string(),
        request_id: random::uuid().to_string(),
    };
    let erase = async |stack: &Stack| {
        let identity = stack.service("identity").unwrap();
        let answer = identity.person().erase_user(request.clone()).await.unwrap();
        answer.into_inner()
    };
    let first = erase(&stack).await;
    assert!(!first.erased.is_empty());
    assert_eq!(erase(&stack).await, first);
    stack.data.stop();
    let earlier = "UPDATE data.tombstones SET erased_at = erased_at - interval '43 days'";
    execute(&stack.database, earlier).await;
    stack.data.start().await.unwrap();
    eventually("the counts are gone", async || {
        let counted = "SELECT count(*) FROM data.tombstones WHERE erased <> '{}'";
        scalar::<i64>(&stack.database, counted).await == 0
    })
    .await;
    let again = erase(&stack).await;
    assert!(again.erased.is_empty());
    let seconds = |time: Option<prost_types::Timestamp>| time.unwrap().seconds;
    assert_eq!(
        seconds(again.erase_time),
        seconds(first.erase_time) - 43 * 24 * 3600
    );
}
