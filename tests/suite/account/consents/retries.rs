//! Retries of GrantConsent and WithdrawConsent take effect once.

use std::slice::from_ref;

use futures_util::future::{join, join_all};
use haven_proto::identity::v1::{AuditEventType, DeleteAccountRequest, ListAuditEventsRequest};
use haven_testkit::{Client, Stack, random};

use super::{grant, grant_of, ledger, withdraw, withdrawal_of};
use crate::{retry::retry_call, status::reason};

/// Returns the numbers of grants and withdrawals in the client's audit log.
async fn logged_events(client: &Client) -> (usize, usize) {
    let request = ListAuditEventsRequest {
        page_size: 200,
        ..Default::default()
    };
    let answer = client.account().list_audit_events(request).await.unwrap();
    let events = answer.into_inner().events;
    let count = |event| events.iter().filter(|found| found.event_type() == event).count();
    (
        count(AuditEventType::ConsentGrant),
        count(AuditEventType::ConsentWithdraw),
    )
}

#[tokio::test]
async fn a_retry_gets_the_first_response() {
    let stack = Stack::shared().await.unwrap();
    let ada = stack.user(&stack.person().await.unwrap()).unwrap();
    let granting = grant_of("news", "1");
    let granted = grant(&ada, &granting).await.unwrap();
    assert_eq!(grant(&ada, &granting).await.unwrap(), granted);
    let withdrawing = withdrawal_of(&granted);
    let withdrawn = withdraw(&ada, &withdrawing).await.unwrap();
    assert_eq!(withdraw(&ada, &withdrawing).await.unwrap(), withdrawn);
    assert_eq!(
        grant(&ada, &granting).await.unwrap(),
        granted,
        "the entry before its withdrawal"
    );
    assert_eq!(ledger(&ada).await, from_ref(&withdrawn));
    assert_eq!(logged_events(&ada).await, (1, 1));

    // A request that changes nothing logs no event, and its request id is stored all the same.
    let no_change = withdrawal_of(&granted);
    assert_eq!(withdraw(&ada, &no_change).await.unwrap(), withdrawn);
    assert_eq!(withdraw(&ada, &no_change).await.unwrap(), withdrawn);
    let again = grant(&ada, &grant_of("news", "1")).await.unwrap();
    assert_eq!(grant(&ada, &grant_of("news", "1")).await.unwrap(), again);
    assert_eq!(logged_events(&ada).await, (2, 1));
}

#[tokio::test]
async fn a_request_id_belongs_to_one_content_of_one_person() {
    let stack = Stack::shared().await.unwrap();
    let (ada, bob) = (stack.person().await.unwrap(), stack.person().await.unwrap());
    let (ada, bob) = (stack.user(&ada).unwrap(), stack.user(&bob).unwrap());
    let granting = grant_of("news", "1");
    let granted = grant(&ada, &granting).await.unwrap();
    let mut other = grant_of("news", "2");
    other.request_id.clone_from(&granting.request_id);
    assert_eq!(
        reason(&grant(&ada, &other).await.unwrap_err()),
        "REQUEST_ID_REUSED"
    );
    let mut withdrawing = withdrawal_of(&granted);
    withdrawing.request_id.clone_from(&granting.request_id);
    let status = withdraw(&ada, &withdrawing).await.unwrap_err();
    assert_eq!(reason(&status), "REQUEST_ID_REUSED");
    assert_eq!(ledger(&ada).await, from_ref(&granted));

    let his = grant(&bob, &granting).await.unwrap();
    assert_ne!(his.id, granted.id);

    let withdrawing = withdrawal_of(&granted);
    withdraw(&ada, &withdrawing).await.unwrap();
    let mut reused = grant_of("news", "3");
    reused.request_id.clone_from(&withdrawing.request_id);
    assert_eq!(
        reason(&grant(&ada, &reused).await.unwrap_err()),
        "REQUEST_ID_REUSED"
    );
    let mut other = withdrawing;
    other.consent_id = random::uuid().to_string();
    assert_eq!(
        reason(&withdraw(&ada, &other).await.unwrap_err()),
        "REQUEST_ID_REUSED"
    );
}

#[tokio::test]
async fn concurrent_requests_make_one_entry() {
    let stack = Stack::shared().await.unwrap();
    let ada = stack.user(&stack.person().await.unwrap()).unwrap();
    // Half are the same request, half are other requests for the same consent.
    let same = grant_of("news", "1");
    let requests: Vec<_> = (0..20)
        .map(|number| match number % 2 {
            0 => same.clone(),
            _ => grant_of("news", "1"),
        })
        .collect();
    let answers = join_all(requests.iter().map(|request| grant(&ada, request))).await;
    let entries = ledger(&ada).await;
    assert_eq!(entries.len(), 1);
    for answer in answers {
        assert_eq!(answer.unwrap(), entries[0]);
    }
    assert_eq!(logged_events(&ada).await, (1, 0));

    let same = withdrawal_of(&entries[0]);
    let requests: Vec<_> = (0..20)
        .map(|number| match number % 2 {
            0 => same.clone(),
            _ => withdrawal_of(&entries[0]),
        })
        .collect();
    let answers = join_all(requests.iter().map(|request| withdraw(&ada, request))).await;
    let entries = ledger(&ada).await;
    for answer in answers {
        assert_eq!(answer.unwrap(), entries[0]);
    }
    assert_eq!(logged_events(&ada).await, (1, 1));
}

#[tokio::test]
async fn concurrent_grants_and_withdrawals_leave_a_consistent_ledger() {
    let stack = Stack::shared().await.unwrap();
    let ada = stack.user(&stack.person().await.unwrap()).unwrap();
    let turns = (0..20).map(|_| async {
        let consent = grant(&ada, &grant_of("news", "1")).await.unwrap();
        withdraw(&ada, &withdrawal_of(&consent)).await.unwrap()
    });
    for consent in join_all(turns).await {
        assert!(consent.withdraw_time.is_some());
    }
    let entries = ledger(&ada).await;
    assert!(entries.iter().all(|entry| entry.withdraw_time.is_some()));
    assert_eq!(logged_events(&ada).await, (entries.len(), entries.len()));
}

#[tokio::test]
async fn requests_during_a_deletion_succeed_or_report_the_deletion() {
    let stack = Stack::shared().await.unwrap();
    for _ in 0..5 {
        let person = stack.person().await.unwrap();
        let ada = stack.user(&person).unwrap();
        let standing = grant(&ada, &grant_of("news", "0")).await.unwrap();
        let changes = (1..=20).map(async |number| match number % 2 {
            0 => withdraw(&ada, &withdrawal_of(&standing)).await,
            _ => grant(&ada, &grant_of("news", &number.to_string())).await,
        });
        let delete = DeleteAccountRequest {
            password: person.password.clone(),
            request_id: random::uuid().to_string(),
            ..DeleteAccountRequest::default()
        };
        let mut account = ada.account();
        let deletes = retry_call(delete, async |request| account.delete_account(request).await);
        let (changed, deleted) = join(join_all(changes), deletes).await;
        deleted.unwrap();
        for status in changed.into_iter().filter_map(Result::err) {
            assert_eq!(reason(&status), "ACCOUNT_ERASED");
        }
    }
}
