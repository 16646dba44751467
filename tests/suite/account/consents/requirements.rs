//! The consents that are required and accepted: before sign-up, and for the versions that exist.

use haven_proto::identity::v1::{
    ConsentGrant, GetConsentRequirementsRequest, GetConsentRequirementsResponse, SignUpRequest,
};
use haven_testkit::{Client, Stack, client::sign_up_request, random};

use super::{grant, grant_of, ledger};
use crate::status::{reason, violations};

/// Password that meets the policy.
const PASSWORD: &str = "Correct-Horse-7-Battery";

async fn requirements(client: &Client) -> GetConsentRequirementsResponse {
    let request = GetConsentRequirementsRequest {};
    let answer = client.account().get_consent_requirements(request).await;
    answer.unwrap().into_inner()
}

/// Formats versions as the configuration does.
fn listed(grants: &[ConsentGrant]) -> Vec<String> {
    let grants = grants.iter();
    grants
        .map(|grant| format!("{}={}", grant.document, grant.document_version))
        .collect()
}

#[tokio::test]
async fn a_form_learns_what_is_required_before_the_sign_up() {
    let stack = Stack::shared().await.unwrap();
    let found = requirements(&stack.anonymous().unwrap()).await;
    assert_eq!(listed(&found.required), ["terms=2026-01", "privacy=2026-01"]);
    assert_eq!(listed(&found.accepted), listed(&found.required));
    assert!(found.any_accepted, "without a list of versions, each is accepted");
    let ada = stack.user(&stack.person().await.unwrap()).unwrap();
    grant(&ada, &grant_of("anything", "at-all")).await.unwrap();
}

#[tokio::test]
async fn versions_that_never_existed_are_refused_and_retries_are_not() {
    let mut stack = Stack::builder()
        .variable("identity", "CONSENT_VERSIONS", "terms=2025-01,news=1")
        .start()
        .await
        .unwrap();
    let anonymous = stack.anonymous().unwrap();
    let found = requirements(&anonymous).await;
    assert_eq!(
        listed(&found.accepted),
        ["terms=2026-01", "privacy=2026-01", "terms=2025-01", "news=1"]
    );
    assert!(!found.any_accepted);

    let mut unknown = sign_up_request("ada@example.org", PASSWORD);
    unknown.consents.push(ConsentGrant {
        document: "news".to_owned(),
        document_version: "2".to_owned(),
    });
    let status = anonymous.account().sign_up(unknown.clone()).await.unwrap_err();
    assert_eq!(reason(&status), "INVALID_FIELD");
    let expected = (
        "consents[2].document_version".to_owned(),
        "VERSION_UNKNOWN".to_owned(),
    );
    assert_eq!(violations(&status), [expected]);
    let mut known = SignUpRequest {
        request_id: random::uuid().to_string(),
        ..unknown
    };
    "1".clone_into(&mut known.consents[2].document_version);
    anonymous.account().sign_up(known.clone()).await.unwrap();

    let ada = anonymous.sign_in("ada@example.org", PASSWORD).await.unwrap();
    let client = stack.user(&ada).unwrap();
    let older = grant_of("terms", "2025-01");
    let granted = grant(&client, &older).await.unwrap();
    for (document, version) in [("terms", "2027-01"), ("cookies", "1")] {
        let status = grant(&client, &grant_of(document, version)).await.unwrap_err();
        assert_eq!(reason(&status), "INVALID_FIELD");
        let expected = (
            "consent.document_version".to_owned(),
            "VERSION_UNKNOWN".to_owned(),
        );
        assert_eq!(violations(&status), [expected]);
    }
    assert_eq!(ledger(&client).await.len(), 1, "the consent to the news");

    // The operator removes versions from the list: what was consented to stays, and a retry gets its first answer.
    stack.identity.stop();
    let variables = &mut stack.identity.variables;
    variables.insert("CONSENT_VERSIONS".to_owned(), "privacy=2026-01".to_owned());
    stack.identity.start().await.unwrap();
    assert_eq!(grant(&client, &older).await.unwrap(), granted);
    anonymous.account().sign_up(known).await.unwrap();
    let status = grant(&client, &grant_of("terms", "2025-01")).await.unwrap_err();
    assert_eq!(reason(&status), "INVALID_FIELD");
}
