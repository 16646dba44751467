//! SignUp and SignIn, and the person in both services afterwards.

use haven_proto::{
    data::v1::ListMessagesRequest,
    identity::v1::{GetSigningKeysRequest, Goal, SignInRequest, SignUpRequest},
};
use haven_testkit::{Stack, client::sign_up_request, random};
use jsonwebtoken::{Algorithm, DecodingKey, Validation, decode, decode_header};

use crate::{
    status::{metadata, reason, violations},
    superuser_sql::{scalar, scalar_with},
};

#[tokio::test]
async fn a_person_signs_up_signs_in_and_is_provisioned_in_data() {
    provisioned(Stack::shared().await.unwrap()).await;
}

/// Tests that a person signs up and in, and is provisioned in data.
pub(crate) async fn provisioned(stack: &Stack) {
    let anonymous = stack.anonymous().unwrap();
    let name = random::uuid().simple();
    let email = format!("Ada-{name}@Example.org");
    let mut request = sign_up_request(&email, "Correct-Horse-7-Battery");
    request.goals = vec![
        Goal::DatingSkills.into(),
        Goal::MakeFriends.into(),
        Goal::DatingSkills.into(),
    ];
    let account = anonymous
        .account()
        .sign_up(request)
        .await
        .unwrap()
        .into_inner()
        .account
        .unwrap();
    assert_eq!(account.email, email);
    assert_eq!(
        account.goals,
        [Goal::MakeFriends as i32, Goal::DatingSkills as i32]
    );
    assert_eq!((account.stage, account.version), (1, 1));
    assert!(account.create_time.is_some() && account.create_time == account.update_time);

    // Another spelling of the same address is the same person.
    let ada = anonymous
        .sign_in(&format!("ada-{name}@EXAMPLE.org"), "Correct-Horse-7-Battery")
        .await
        .unwrap();
    assert_eq!(ada.id.to_string(), account.id);
    // data has provisioned the person before SignUp responds.
    let list = ListMessagesRequest::default();
    let page = stack
        .user(&ada)
        .unwrap()
        .conversation()
        .list_messages(list)
        .await
        .unwrap()
        .into_inner();
    assert!(page.messages.is_empty() && page.next_page_token.is_empty());
    let provisioned: i64 = scalar_with(
        &stack.database,
        "SELECT count(*) FROM data.users WHERE id = $1",
        ada.id,
    )
    .await;
    assert_eq!(provisioned, 1);
}

#[tokio::test]
async fn an_access_token_has_the_format_of_supabase_and_postgrest() {
    token_format(Stack::shared().await.unwrap()).await;
}

/// Tests the format of an access token.
pub(crate) async fn token_format(stack: &Stack) {
    let ada = stack.person().await.unwrap();
    let mut session = stack.anonymous().unwrap().session();
    let published = session
        .get_signing_keys(GetSigningKeysRequest {})
        .await
        .unwrap()
        .into_inner();
    assert_eq!(published.issuer, "haven");
    assert!(published.max_age.is_some_and(|age| age.seconds > 0));

    let header = decode_header(&ada.token).unwrap();
    assert_eq!(header.alg, Algorithm::ES256);
    let key = published
        .keys
        .iter()
        .find(|key| Some(&key.key_id) == header.kid.as_ref())
        .expect("published");
    let mut validation = Validation::new(Algorithm::ES256);
    validation.set_audience(&["authenticated"]);
    validation.set_issuer(&["haven"]);
    let key = DecodingKey::from_ec_components(&key.x, &key.y).unwrap();
    let claims = decode::<serde_json::Value>(&ada.token, &key, &validation)
        .unwrap()
        .claims;
    assert_eq!(claims["sub"], ada.id.to_string());
    assert_eq!(claims["role"], "authenticated");
    assert_eq!(claims["session_id"], ada.session_id.to_string());
    assert_eq!(
        claims["exp"].as_i64().unwrap() - claims["iat"].as_i64().unwrap(),
        15 * 60
    );
}

#[tokio::test]
async fn every_missing_field_of_a_sign_up_is_reported_at_once() {
    let stack = Stack::start().await.unwrap();
    let mut account = stack.anonymous().unwrap().account();
    let status = account.sign_up(SignUpRequest::default()).await.unwrap_err();
    assert_eq!(reason(&status), "INVALID_FIELD");
    let fields: Vec<_> = violations(&status).into_iter().map(|(field, _)| field).collect();
    for field in ["email", "password", "goals", "consents", "request_id"] {
        assert!(fields.contains(&field.to_owned()), "{field} is not in {fields:?}");
    }

    let mut short = sign_up_request("ada@example.org", "short");
    let status = account.sign_up(short.clone()).await.unwrap_err();
    assert_eq!(reason(&status), "PASSWORD_POLICY");
    short.password = "Correct-Horse-7-Battery".into();
    short.consents.pop();
    let status = account.sign_up(short.clone()).await.unwrap_err();
    assert_eq!(reason(&status), "CONSENT_REQUIRED");
    assert!(!metadata(&status, "required_consents").is_empty());
    let accounts: i64 = scalar(&stack.database, "SELECT count(*) FROM identity.users").await;
    assert_eq!(accounts, 0, "no account is stored");
}

#[tokio::test]
async fn an_email_address_is_taken_in_every_spelling() {
    taken_address(Stack::shared().await.unwrap()).await;
}

/// Tests that each spelling of an email address is the same address.
pub(crate) async fn taken_address(stack: &Stack) {
    let mut account = stack.anonymous().unwrap().account();
    let name = random::uuid().simple();
    let spellings = [
        format!("ada-{name}@example.org"),
        format!("ADA-{name}@Example.ORG"),
        format!("\u{ff41}da-{name}@example.org"),
    ];
    account
        .sign_up(sign_up_request(&spellings[0], "Correct-Horse-7-Battery"))
        .await
        .unwrap();
    for spelling in &spellings {
        let status = account
            .sign_up(sign_up_request(spelling, "Correct-Horse-7-Battery"))
            .await
            .unwrap_err();
        assert_eq!(reason(&status), "EMAIL_TAKEN", "{spelling}");
    }
}

#[tokio::test]
async fn a_wrong_password_and_an_unknown_address_get_the_same_status() {
    same_refusal(Stack::shared().await.unwrap()).await;
}

/// Tests that a wrong password and an unknown address get the same status.
pub(crate) async fn same_refusal(stack: &Stack) {
    let ada = stack.person().await.unwrap();
    let mut session = stack.anonymous().unwrap().session();
    let unknown = format!("unknown-{}@example.org", random::uuid().simple());
    let mut statuses = Vec::new();
    for (email, password) in [
        (ada.email.as_str(), "Wrong-Horse-7-Battery"),
        (&unknown, &ada.password),
    ] {
        let request = SignInRequest {
            email: email.into(),
            password: password.into(),
            request_id: random::uuid().to_string(),
            ..SignInRequest::default()
        };
        let status = session.sign_in(request).await.unwrap_err();
        statuses.push((
            status.code(),
            reason(&status),
            status.message().to_owned(),
            violations(&status),
        ));
    }
    assert_eq!(statuses[0], statuses[1]);
    assert_eq!(statuses[0].1, "CREDENTIALS_INVALID");
}
