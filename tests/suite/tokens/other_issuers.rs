//! Tokens of trusted issuers beside identity.

use haven_proto::data::v1::ListMessagesRequest;
use haven_testkit::{Stack, random};
use serde_json::json;

use super::{
    append,
    issuers::{Issuers, PUBLIC, RSA_SUB, SECRET, SHARED, claims, hs256, rsa_token, with},
    provision,
};
use crate::status::reason;

/// Returns the number of messages that ListMessages returns for `token`.
async fn messages(stack: &Stack, token: &str) -> usize {
    let client = stack.anonymous().unwrap().with_token(token).unwrap();
    let list = ListMessagesRequest::default();
    let page = client.conversation().list_messages(list).await.unwrap();
    page.into_inner().messages.len()
}

#[tokio::test]
async fn a_person_of_each_issuer_is_provisioned_and_then_writes() {
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
        assert_eq!(
            messages(&stack, token).await,
            1,
            "each person sees only their own messages"
        );
    }
    // `sub` identifies the person, for every trusted issuer. `aud` may list several audiences.
    let also = with(claims(SHARED, public), "aud", json!(["authenticated", "other"]));
    let also = hs256(Some("k1"), SECRET.as_bytes(), &also);
    assert_eq!(append(&stack, &also).await.unwrap().number, 2);
}

#[tokio::test]
async fn tokens_of_identity_are_accepted_beside_those_of_trusted_issuers() {
    let issuers = Issuers::new();
    let stack = Stack::builder().variable("data", "TRUSTED_ISSUERS", issuers.setting());
    let stack = stack.start().await.unwrap();
    let ada = stack.person().await.unwrap();
    assert_eq!(append(&stack, &ada.token).await.unwrap().number, 1);
    // A token of another issuer for the same person.
    let token = hs256(None, SECRET.as_bytes(), &claims(SHARED, ada.id));
    assert_eq!(append(&stack, &token).await.unwrap().number, 2);
    // Another issuer's key cannot sign for identity's issuer.
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
async fn no_other_issuer_is_trusted_by_default() {
    let issuers = Issuers::new();
    let stack = Stack::shared().await.unwrap();
    for token in [
        hs256(None, SECRET.as_bytes(), &claims(SHARED, random::uuid())),
        issuers.es256(Some("k1"), &claims(PUBLIC, random::uuid())),
        rsa_token().to_owned(),
    ] {
        let status = append(stack, &token).await.unwrap_err();
        assert_eq!(crate::status::metadata(&status, "problem"), "ISSUER");
    }
}
