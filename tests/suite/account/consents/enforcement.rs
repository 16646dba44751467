//! The enforcement of consents: what people learn of new requirements, and what they can call without them.

use haven_proto::{
    data::v1::{ExportDataRequest, ListMessagesRequest, WatchChangesRequest},
    identity::v1::{
        ConsentGrant, GetAccountRequest, ListSessionsRequest, RefreshSessionRequest, RefreshSessionResponse,
        SignInRequest,
    },
};
use haven_testkit::{Client, Person, Stack, random};
use tonic::Status;

use super::{grant, grant_of, page, withdraw, withdrawal_of};
use crate::{
    account::external_provider,
    status::{metadata, reason},
    test_device::Device,
};

/// Returns the consents as the claim of a token states them.
fn listed(missing: &[ConsentGrant]) -> Vec<String> {
    let missing = missing.iter();
    missing
        .map(|grant| format!("{}={}", grant.document, grant.document_version))
        .collect()
}

/// Gets new tokens for `person`.
async fn refresh(stack: &Stack, person: &mut Person) -> RefreshSessionResponse {
    let request = RefreshSessionRequest {
        refresh_token: person.refresh_token.clone(),
    };
    let anonymous = stack.anonymous().unwrap();
    let answer = anonymous
        .session()
        .refresh_session(request)
        .await
        .unwrap()
        .into_inner();
    person.token.clone_from(&answer.access_token);
    person.refresh_token.clone_from(&answer.refresh_token);
    answer
}

/// Calls both services as a person who reads.
async fn read(client: &Client) -> [Result<(), Status>; 2] {
    let account = client.account().get_account(GetAccountRequest::default()).await;
    let messages = client
        .conversation()
        .list_messages(ListMessagesRequest::default())
        .await;
    [account.map(drop), messages.map(drop)]
}

/// Restarts identity with these required consents.
async fn require(stack: &mut Stack, consents: &str) {
    stack.identity.stop();
    let variables = &mut stack.identity.variables;
    variables.insert("REQUIRED_CONSENTS".to_owned(), consents.to_owned());
    stack.identity.start().await.unwrap();
}

#[tokio::test]
async fn a_person_who_lacks_a_new_consent_can_only_consent_export_and_leave() {
    let mut stack = Stack::builder()
        .variable("identity", "CONSENT_ENFORCEMENT", "on")
        .variable("data", "CONSENT_ENFORCEMENT", "on")
        .start()
        .await
        .unwrap();
    let phone = Device::invent(&stack).await.unwrap();
    let mut ada = phone.person.clone();
    let watch = WatchChangesRequest {
        device_id: phone.id.to_string(),
        cursor: String::new(),
    };
    let mut watch = phone
        .client
        .cycle()
        .watch_changes(watch)
        .await
        .unwrap()
        .into_inner();
    watch.message().await.unwrap().unwrap();

    require(&mut stack, "terms=2026-02,privacy=2026-01").await;
    // A token that was issued before is accepted until it expires.
    for outcome in read(&phone.client).await {
        outcome.unwrap();
    }
    let refreshed = refresh(&stack, &mut ada).await;
    assert_eq!(listed(&refreshed.missing_consents), ["terms=2026-02"]);
    let client = stack.user(&ada).unwrap();
    for outcome in read(&client).await {
        let status = outcome.unwrap_err();
        assert_eq!(reason(&status), "CONSENT_OUTDATED");
        assert_eq!(metadata(&status, "missing_consents"), "terms=2026-02");
    }
    page(&client, 10, "").await.unwrap();
    let sessions = client
        .session()
        .list_sessions(ListSessionsRequest::default())
        .await;
    assert_eq!(sessions.unwrap().into_inner().sessions.len(), 1);
    let mut export = client
        .person()
        .export_data(ExportDataRequest::default())
        .await
        .unwrap()
        .into_inner();
    export.message().await.unwrap().unwrap();

    // SignIn says the same, and its retry gets the first answer although the consent was granted since.
    let sign_in = SignInRequest {
        email: ada.email.clone(),
        password: ada.password.clone(),
        request_id: random::uuid().to_string(),
        ..SignInRequest::default()
    };
    let anonymous = stack.anonymous().unwrap();
    let first = anonymous
        .session()
        .sign_in(sign_in.clone())
        .await
        .unwrap()
        .into_inner();
    assert_eq!(listed(&first.missing_consents), ["terms=2026-02"]);
    grant(&client, &grant_of("terms", "2026-02")).await.unwrap();
    let again = anonymous.session().sign_in(sign_in).await.unwrap().into_inner();
    assert_eq!(again.missing_consents, first.missing_consents);
    let status = read(&client).await.into_iter().find_map(Result::err).unwrap();
    assert_eq!(
        reason(&status),
        "CONSENT_OUTDATED",
        "until the token is refreshed"
    );

    let refreshed = refresh(&stack, &mut ada).await;
    assert_eq!(listed(&refreshed.missing_consents), [""; 0]);
    for outcome in read(&stack.user(&ada).unwrap()).await {
        outcome.unwrap();
    }
    let signed_in = anonymous.sign_in(&ada.email, &ada.password).await.unwrap();
    for outcome in read(&stack.user(&signed_in).unwrap()).await {
        outcome.unwrap();
    }

    // The watch is still open.
    let record = phone.create(random::uuid(), "a record").unwrap();
    let mut cycle = stack.user(&ada).unwrap().cycle();
    cycle.create_record(record).await.unwrap();
    let seen = watch.message().await.unwrap().unwrap();
    assert_eq!(seen.entries.len(), 1);
}

#[tokio::test]
async fn consents_are_not_enforced_by_default() {
    let stack = Stack::shared().await.unwrap();
    let mut ada = stack.person().await.unwrap();
    let client = stack.user(&ada).unwrap();
    let consents = page(&client, 10, "").await.unwrap().consents;
    let terms = consents
        .iter()
        .find(|consent| consent.document == "terms")
        .unwrap();
    withdraw(&client, &withdrawal_of(terms)).await.unwrap();
    let refreshed = refresh(stack, &mut ada).await;
    assert_eq!(listed(&refreshed.missing_consents), ["terms=2026-01"]);
    for outcome in read(&stack.user(&ada).unwrap()).await {
        outcome.unwrap();
    }
}

#[tokio::test]
async fn consents_cannot_be_enforced_where_tokens_do_not_state_them() {
    for service in ["identity", "data"] {
        let (mut stack, _secret) = external_provider::stack("haven").await;
        let service = match service {
            "identity" => &mut stack.identity,
            _ => &mut stack.data,
        };
        service.stop();
        let variables = &mut service.variables;
        variables.insert("CONSENT_ENFORCEMENT".to_owned(), "on".to_owned());
        let error = service.start().await.unwrap_err();
        let problem = "CONSENT_ENFORCEMENT: can be `on` only without TRUSTED_ISSUERS";
        assert!(format!("{error:#}").contains(problem), "{error:#}");
    }
}
