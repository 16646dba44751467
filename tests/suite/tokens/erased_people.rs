//! Tokens of erased people: data refuses them, and does not provision the person again.

use haven_proto::data::v1::{EraseUserRequest, EraseUserResponse, ListMessagesRequest};
use haven_testkit::{Stack, random};
use tonic::Status;
use uuid::Uuid;

use super::{
    append,
    issuers::{Issuers, PUBLIC, claims},
    provision,
};
use crate::status::reason;

/// Calls EraseUser as identity.
async fn erase(stack: &Stack, person: Uuid) -> Result<EraseUserResponse, Status> {
    let request = EraseUserRequest {
        user_id: person.to_string(),
        request_id: random::uuid().to_string(),
    };
    let identity = stack.service("identity").unwrap();
    Ok(identity.person().erase_user(request).await?.into_inner())
}

/// Returns the number of erased rows of `table` in the receipt.
fn rows(receipt: &EraseUserResponse, table: &str) -> Option<i64> {
    let mut erased = receipt.erased.iter();
    erased
        .find(|erased| erased.table == table)
        .map(|erased| erased.rows)
}

#[tokio::test]
async fn an_erased_person_is_refused_and_never_provisioned_again() {
    let issuers = Issuers::new();
    let stack = issuers.stack().await;
    let (ada, bob) = (random::uuid(), random::uuid());
    let token = |person| issuers.es256(Some("k1"), &claims(PUBLIC, person));
    for person in [ada, bob] {
        provision(&stack, person).await.unwrap();
        append(&stack, &token(person)).await.unwrap();
    }
    append(&stack, &token(ada)).await.unwrap();

    let receipt = erase(&stack, ada).await.unwrap();
    let tables: Vec<_> = receipt
        .erased
        .iter()
        .map(|erased| erased.table.as_str())
        .collect();
    assert!(tables.is_sorted(), "{tables:?}");
    for (table, expected) in [
        ("data.users", 1),
        ("data.conversations", 2),
        ("data.conversation_counters", 1),
        ("data.requests", 2),
    ] {
        assert_eq!(rows(&receipt, table), Some(expected), "{table}");
    }
    assert_eq!(
        erase(&stack, ada).await.unwrap(),
        receipt,
        "a retry gets the same receipt"
    );

    let refused = [
        append(&stack, &token(ada)).await.unwrap_err(),
        provision(&stack, ada).await.unwrap_err(),
    ];
    for status in refused {
        assert_eq!(reason(&status), "ACCOUNT_ERASED");
    }
    let erased_client = stack.anonymous().unwrap().with_token(&token(ada)).unwrap();
    let page = erased_client
        .conversation()
        .list_messages(ListMessagesRequest::default())
        .await;
    assert!(page.unwrap().into_inner().messages.is_empty());
    assert_eq!(append(&stack, &token(bob)).await.unwrap().number, 2);
}

#[tokio::test]
async fn a_person_never_provisioned_can_be_erased() {
    let issuers = Issuers::new();
    let stack = issuers.stack().await;
    let unknown = random::uuid();
    let receipt = erase(&stack, unknown).await.unwrap();
    assert!(
        receipt.erased.iter().all(|erased| erased.rows == 0),
        "{receipt:?}"
    );
    // A ProvisionUser that arrives late is refused.
    assert_eq!(
        reason(&provision(&stack, unknown).await.unwrap_err()),
        "ACCOUNT_ERASED"
    );
    assert_eq!(erase(&stack, unknown).await.unwrap(), receipt);
}
