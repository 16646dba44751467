//! Signing up and in, and what the two services know afterwards.

use haven_proto::{
    data::v1::ListMessagesRequest,
    identity::v1::{GetSigningKeysRequest, Goal, SignInRequest, SignUpRequest},
};
use haven_testkit::{Stack, client::sign_up_request, random};
use jsonwebtoken::{Algorithm, DecodingKey, Validation, decode, decode_header};

use crate::{
    status::{metadata, reason, violations},
    superuser_sql::scalar,
};

#[tokio::test]
async fn a_person_signs_up_signs_in_and_is_known_to_both_services() {
    let stack = Stack::start().await.unwrap();
    let nobody = stack.anonymous().unwrap();
    let mut request = sign_up_request("Ada@Example.org", "Correct-Horse-7-Battery");
    request.goals = vec![
        Goal::DatingSkills.into(),
        Goal::MakeFriends.into(),
        Goal::DatingSkills.into(),
    ];
    let account = nobody
        .account()
        .sign_up(request)
        .await
        .unwrap()
        .into_inner()
        .account
        .unwrap();
    assert_eq!(account.email, "Ada@Example.org");
    assert_eq!(
        account.goals,
        [Goal::MakeFriends as i32, Goal::DatingSkills as i32]
    );
    assert_eq!((account.stage, account.version), (1, 1));
    assert!(account.create_time.is_some() && account.create_time == account.update_time);

    // Another spelling of the same address is the same person.
    let ada = nobody
        .sign_in("ada@EXAMPLE.org", "Correct-Horse-7-Battery")
        .await
        .unwrap();
    assert_eq!(ada.id.to_string(), account.id);
    // Known to data by the time that SignUp answered.
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
    let known: i64 = scalar(&stack.database, "SELECT count(*) FROM data.users").await;
    assert_eq!(known, 1);
}

#[tokio::test]
async fn an_access_token_is_what_supabase_and_postgrest_accept() {
    let stack = Stack::start().await.unwrap();
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
async fn everything_that_is_wrong_with_a_sign_up_is_said_at_once() {
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
    let nobody: i64 = scalar(&stack.database, "SELECT count(*) FROM identity.users").await;
    assert_eq!(nobody, 0, "nothing is stored");
}

#[tokio::test]
async fn an_address_is_taken_in_every_spelling() {
    let stack = Stack::start().await.unwrap();
    let mut account = stack.anonymous().unwrap().account();
    account
        .sign_up(sign_up_request("ada@example.org", "Correct-Horse-7-Battery"))
        .await
        .unwrap();
    for spelling in ["ada@example.org", "ADA@Example.ORG", "\u{ff41}da@example.org"] {
        let status = account
            .sign_up(sign_up_request(spelling, "Correct-Horse-7-Battery"))
            .await
            .unwrap_err();
        assert_eq!(reason(&status), "EMAIL_TAKEN", "{spelling}");
    }
}

#[tokio::test]
async fn a_wrong_password_and_an_unknown_address_look_alike() {
    let stack = Stack::start().await.unwrap();
    let ada = stack.person().await.unwrap();
    let mut session = stack.anonymous().unwrap().session();
    let mut seen = Vec::new();
    for (email, password) in [
        (ada.email.as_str(), "Wrong-Horse-7-Battery"),
        ("nobody@example.org", &ada.password),
    ] {
        let request = SignInRequest {
            email: email.into(),
            password: password.into(),
            request_id: random::uuid().to_string(),
        };
        let status = session.sign_in(request).await.unwrap_err();
        seen.push((
            status.code(),
            reason(&status),
            status.message().to_owned(),
            violations(&status),
        ));
    }
    assert_eq!(seen[0], seen[1]);
    assert_eq!(seen[0].1, "CREDENTIALS_INVALID");
}
