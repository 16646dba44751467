//! Tokens of other issuers are accepted, and their people are kept apart like all others.

use haven_proto::data::v1::ListMessagesRequest;
use haven_testkit::{Stack, random};
use serde_json::json;

use super::{
    append,
    issuers::{Issuers, PUBLIC, RSA_SUB, SECRET, SHARED, claims, hs256, rsa_token, with},
    provision,
};
use crate::status::reason;

async fn messages(stack: &Stack, token: &str) -> usize {
    let client = stack.anonymous().unwrap().with_token(token).unwrap();
    let list = ListMessagesRequest::default();
    let page = client.conversation().list_messages(list).await.unwrap();
    page.into_inner().messages.len()
}

#[tokio::test]
async fn a_person_of_each_issuer_is_made_known_and_then_writes() {
    let issuers = Issuers::new();
    let stack = issuers.stack().await;
    let (shared, public) = (random::uuid(), random::uuid());
    let people = [
        (shared, hs256(None, SECRET.as_bytes(), &claims(SHARED, shared))),
        (public, issuers.es256(Some("k1"), &claims(PUBLIC, public))),
        (RSA_SUB, rsa_token().to_owned()),
    ];
    for (person, token) in &people {
        let status = append(&stack, token).await.unwrap_err();
        assert_eq!(reason(&status), "ACCOUNT_NOT_READY");
        provision(&stack, *person).await.unwrap();
        assert_eq!(append(&stack, token).await.unwrap().number, 1);
    }
    for (_, token) in &people {
        assert_eq!(messages(&stack, token).await, 1, "each their own");
    }
    // A person is who `sub` says, whoever of those who are trusted says so; and a token may be for several.
    let also = with(claims(SHARED, public), "aud", json!(["authenticated", "other"]));
    let also = hs256(Some("k1"), SECRET.as_bytes(), &also);
    assert_eq!(append(&stack, &also).await.unwrap().number, 2);
}

#[tokio::test]
async fn our_own_tokens_are_accepted_beside_them() {
    let issuers = Issuers::new();
    let stack = Stack::builder().variable("data", "TRUSTED_ISSUERS", issuers.setting());
    let stack = stack.start().await.unwrap();
    let ada = stack.person().await.unwrap();
    assert_eq!(append(&stack, &ada.token).await.unwrap().number, 1);
    // The same person, by the word of somebody else.
    let token = hs256(None, SECRET.as_bytes(), &claims(SHARED, ada.id));
    assert_eq!(append(&stack, &token).await.unwrap().number, 2);
    // Nobody else may speak for our own issuer.
    for token in [
        hs256(Some("k1"), SECRET.as_bytes(), &claims("haven", ada.id)),
        issuers.es256(Some("k1"), &claims("haven", ada.id)),
    ] {
        assert_eq!(
            reason(&append(&stack, &token).await.unwrap_err()),
            "TOKEN_INVALID"
        );
    }
}

#[tokio::test]
async fn nobody_is_trusted_unless_said() {
    let issuers = Issuers::new();
    let stack = Stack::builder().without("identity").start().await.unwrap();
    for token in [
        hs256(None, SECRET.as_bytes(), &claims(SHARED, random::uuid())),
        issuers.es256(Some("k1"), &claims(PUBLIC, random::uuid())),
        rsa_token().to_owned(),
    ] {
        let status = append(&stack, &token).await.unwrap_err();
        assert_eq!(crate::status::metadata(&status, "problem"), "ISSUER");
    }
}
