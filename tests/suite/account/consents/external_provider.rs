//! Consents of a person who signs in with an external provider.

use std::slice::from_ref;

use haven_testkit::random;

use super::{grant, grant_of, ledger, page, withdraw, withdrawal_of};
use crate::{
    account::external_provider::{external_person, stack},
    status::reason,
};

#[tokio::test]
async fn granting_a_consent_creates_the_account() {
    let (stack, _directory) = stack("external").await;
    let ada = external_person(&stack, random::uuid());
    let before = page(&ada, 0, "").await.unwrap();
    assert!(before.consents.is_empty());
    assert_eq!(before.required.len(), 2, "the required consents are listed");
    let granted = grant(&ada, &grant_of("news", "1")).await.unwrap();
    assert_eq!(ledger(&ada).await, from_ref(&granted));
    let withdrawn = withdraw(&ada, &withdrawal_of(&granted)).await.unwrap();
    assert_eq!(ledger(&ada).await, [withdrawn]);
}

#[tokio::test]
async fn an_external_token_creates_no_account_where_haven_is_the_provider() {
    let (stack, _directory) = stack("haven").await;
    let ada = external_person(&stack, random::uuid());
    let status = grant(&ada, &grant_of("news", "1")).await.unwrap_err();
    assert_eq!(reason(&status), "NOT_FOUND");
    assert!(page(&ada, 0, "").await.unwrap().consents.is_empty());
}
