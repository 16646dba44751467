//! Recovery with `AUTH_PROVIDER=external`: the other provider recovers accounts.

use std::fs;

use haven_testkit::{Stack, random};

use super::{
    backend, confirm, create_change, create_reset, create_verification, refused, request_id, reset,
    reset_with, undo, verify,
};

#[tokio::test]
async fn accounts_of_an_external_provider_are_not_recovered() {
    let directory = tempfile::tempdir().unwrap();
    let file = directory.path().join("secret");
    fs::write(&file, "super-secret-jwt-token-with-at-least-32-characters").unwrap();
    let trusted = format!("https://abc.example/auth/v1=hs256:{}", file.display());
    let stack = Stack::builder()
        .variable("identity", "AUTH_PROVIDER", "external")
        .variable("identity", "TRUSTED_ISSUERS", trusted)
        .without("data")
        .start()
        .await
        .unwrap();
    let (anonymous, backend) = (stack.anonymous().unwrap(), backend(&stack));
    let token = format!("hvt_{}", "A".repeat(43));
    let (person, id) = (random::uuid(), request_id());
    let reasons = [
        refused(create_reset(&backend, "ada@example.org", &id).await),
        refused(create_verification(&backend, person, &id).await),
        refused(create_change(&backend, person, "ada@example.org", &id).await),
        refused(reset(&anonymous, &reset_with(&token)).await),
        refused(verify(&anonymous, &token, &id).await),
        refused(confirm(&anonymous, &token, &id).await),
        refused(undo(&anonymous, &token, &id).await),
    ];
    assert_eq!(reasons, ["AUTH_PROVIDER_EXTERNAL"; 7]);
}
