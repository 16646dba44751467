//! Of a person whom another provider signs in.

use std::slice::from_ref;

use haven_testkit::random;

use super::{grant, grant_of, ledger, page, withdraw, withdrawal_of};
use crate::{
    account::external_provider::{foreigner, stack},
    status::reason,
};

#[tokio::test]
async fn granting_makes_their_account() {
    let (stack, _directory) = stack("external").await;
    let ada = foreigner(&stack, random::uuid());
    let before = page(&ada, 0, "").await.unwrap();
    assert!(before.consents.is_empty());
    assert_eq!(before.required.len(), 2, "what a form has to ask for");
    let granted = grant(&ada, &grant_of("news", "1")).await.unwrap();
    assert_eq!(ledger(&ada).await, from_ref(&granted));
    let withdrawn = withdraw(&ada, &withdrawal_of(&granted)).await.unwrap();
    assert_eq!(ledger(&ada).await, [withdrawn]);
}

#[tokio::test]
async fn where_haven_signs_people_up_a_token_alone_is_no_account() {
    let (stack, _directory) = stack("haven").await;
    let ada = foreigner(&stack, random::uuid());
    let status = grant(&ada, &grant_of("news", "1")).await.unwrap_err();
    assert_eq!(reason(&status), "NOT_FOUND");
    assert!(page(&ada, 0, "").await.unwrap().consents.is_empty());
}
