//! ListShares, ListShareAccess and RevokeShare.

use futures_util::future::join_all;
use haven_proto::data::v1::{
    ListShareAccessRequest, ListShareAccessResponse, ListSharesRequest, ListSharesResponse, ShareState,
};
use haven_testkit::{Client, Stack, random};
use tonic::Status;

use super::{Sharer, open, retry_call};
use crate::{
    status::{reason, violations},
    superuser_sql::execute,
};

async fn list_shares(
    client: &Client,
    page_size: i32,
    page_token: &str,
) -> Result<ListSharesResponse, Status> {
    let request = ListSharesRequest {
        page_size,
        page_token: page_token.to_owned(),
    };
    Ok(client.share().list_shares(request).await?.into_inner())
}

async fn list_share_access(
    client: &Client,
    share_id: &str,
    page_size: i32,
    page_token: &str,
) -> Result<ListShareAccessResponse, Status> {
    let request = ListShareAccessRequest {
        share_id: share_id.to_owned(),
        page_size,
        page_token: page_token.to_owned(),
    };
    Ok(client.share().list_share_access(request).await?.into_inner())
}

#[tokio::test]
async fn every_page_size_lists_each_share_once_while_new_ones_are_created() {
    let stack = Stack::shared().await.unwrap();
    let (ada, bob) = (Sharer::invent(stack).await, Sharer::invent(stack).await);
    let empty = list_shares(&ada.client, 0, "").await.unwrap();
    assert!(empty.shares.is_empty() && empty.next_page_token.is_empty());
    let mut expected = Vec::new();
    for _ in 0..7 {
        expected.push(ada.create_share(ada.share_request(1)).await.id);
        bob.create_share(bob.share_request(1)).await;
    }
    // Two shares with the same creation time are ordered by id: the greater id is newer.
    let same = format!(
        "UPDATE data.healthcare_share SET created_at = (SELECT created_at FROM data.healthcare_share WHERE id = '{}')
         WHERE id = '{}'",
        expected[3], expected[4]
    );
    execute(&stack.database, &same).await;
    expected[3..5].sort_unstable();
    expected.reverse();
    for size in 1..=8 {
        let (mut seen, mut token, mut pages) = (Vec::new(), String::new(), 0);
        let before = expected.clone();
        loop {
            let page = list_shares(&ada.client, size, &token).await.unwrap();
            assert!(page.shares.len() <= size as usize);
            seen.extend(page.shares.into_iter().map(|share| share.share_id));
            pages += 1;
            assert!(pages <= before.len(), "there are too many pages");
            token = page.next_page_token;
            if token.is_empty() {
                break;
            }
            // A share newer than the first page is on none of the following pages.
            expected.insert(0, ada.create_share(ada.share_request(1)).await.id);
        }
        assert_eq!(
            (seen, pages),
            (before.clone(), before.len().div_ceil(size as usize)),
            "{size}"
        );
    }
}

#[tokio::test]
async fn every_page_size_lists_each_access_once() {
    let stack = Stack::shared().await.unwrap();
    let ada = Sharer::invent(stack).await;
    let created = ada.create_share(ada.share_request(3)).await;
    let other = ada.create_share(ada.share_request(3)).await;
    for _ in 0..5 {
        open(stack, &created.token, "").await.ok();
        open(stack, &other.token, "").await.ok();
    }
    let all = list_share_access(&ada.client, &created.id, 0, "").await.unwrap();
    assert!(all.next_page_token.is_empty());
    assert_eq!(all.accesses.len(), 5);
    for size in 1..=6 {
        let (mut seen, mut token, mut pages) = (Vec::new(), String::new(), 0);
        loop {
            let page = list_share_access(&ada.client, &created.id, size, &token)
                .await
                .unwrap();
            seen.extend(page.accesses);
            pages += 1;
            assert!(pages <= 5, "there are too many pages");
            token = page.next_page_token;
            if token.is_empty() {
                break;
            }
            if size == 1 && pages == 1 {
                // A page token is valid for its own list only.
                for refused in [
                    list_share_access(&ada.client, &other.id, size, &token)
                        .await
                        .unwrap_err(),
                    list_shares(&ada.client, size, &token).await.unwrap_err(),
                ] {
                    assert_eq!(reason(&refused), "PAGE_TOKEN_INVALID");
                }
            }
        }
        assert_eq!(
            (&seen, pages),
            (&all.accesses, 5_usize.div_ceil(size as usize)),
            "{size}"
        );
    }
}

#[tokio::test]
async fn a_share_of_another_person_is_not_found() {
    let stack = Stack::shared().await.unwrap();
    let (ada, bob) = (Sharer::invent(stack).await, Sharer::invent(stack).await);
    let created = ada.create_share(ada.share_request(1)).await;
    let second = ada.create_share(ada.share_request(1)).await;
    open(stack, &created.token, "").await.unwrap();
    for id in [created.id.clone(), random::uuid().to_string()] {
        let refused = list_share_access(&bob.client, &id, 0, "").await.unwrap_err();
        assert_eq!(reason(&refused), "NOT_FOUND");
        assert_eq!(reason(&bob.revoke(&id).await.unwrap_err()), "NOT_FOUND");
    }
    assert!(list_shares(&bob.client, 0, "").await.unwrap().shares.is_empty());
    let token = list_shares(&ada.client, 1, "").await.unwrap().next_page_token;
    let refused = list_shares(&bob.client, 1, &token).await.unwrap_err();
    assert_eq!(reason(&refused), "PAGE_TOKEN_INVALID");
    // Bob's share with the same id does not reach Ada's.
    let mut same_id = bob.share_request(1);
    same_id.share_id.clone_from(&created.id);
    let theirs = bob.create_share(same_id).await;
    assert_eq!(bob.revoke(&theirs.id).await.unwrap().state(), ShareState::Revoked);
    assert_eq!(ada.share(&created.id).await.state(), ShareState::UsedUp);
    assert!(
        list_share_access(&bob.client, &theirs.id, 0, "")
            .await
            .unwrap()
            .accesses
            .is_empty()
    );
    open(stack, &second.token, "").await.unwrap();
}

#[tokio::test]
async fn concurrent_revocations_revoke_a_share_once() {
    let stack = Stack::shared().await.unwrap();
    let ada = Sharer::invent(stack).await;
    let created = ada.create_share(ada.share_request(2)).await;
    open(stack, &created.token, "").await.unwrap();
    let revoking = join_all((0..16).map(|_| retry_call(async || ada.revoke(&created.id).await))).await;
    let first = ada.share(&created.id).await;
    assert_eq!(first.state(), ShareState::Revoked);
    assert!(first.revoke_time.is_some() && first.access_count == 1);
    for revoked in revoking {
        assert_eq!(revoked.unwrap(), first);
    }
    assert_eq!(ada.revoke(&created.id).await.unwrap(), first);
    assert_eq!(
        reason(&open(stack, &created.token, "").await.unwrap_err()),
        "SHARE_UNAVAILABLE"
    );
}

#[tokio::test]
async fn every_violation_is_reported() {
    let stack = Stack::shared().await.unwrap();
    let ada = Sharer::invent(stack).await;
    let refused = list_share_access(&ada.client, "x", -1, "").await.unwrap_err();
    assert_eq!(reason(&refused), "INVALID_FIELD");
    let expected = [("share_id", "NOT_A_UUID"), ("page_size", "NEGATIVE")];
    let expected = expected.map(|(field, name)| (field.to_owned(), name.to_owned()));
    assert_eq!(violations(&refused), expected);
    let refused = list_shares(&ada.client, -1, "").await.unwrap_err();
    assert_eq!(violations(&refused), expected[1..]);
    let refused = ada.revoke("").await.unwrap_err();
    assert_eq!(violations(&refused), [("share_id".into(), "REQUIRED".into())]);
}
