//! `AUTH_PROVIDER=external`: people sign in with another provider, and its token creates their account on first use.

use std::fs;

use futures_util::future::join_all;
use haven_platform::auth::{Claims, ROLE};
use haven_proto::{
    data::v1::ListMessagesRequest,
    identity::v1::{Account, Goal, RefreshSessionRequest, SignInRequest},
};
use haven_testkit::{Client, Stack, client::sign_up_request, random};
use jsonwebtoken::{Algorithm, EncodingKey, Header, encode};
use uuid::Uuid;

use super::{PASSWORD, get, update, update_of};
use crate::{
    status::reason,
    superuser_sql::{execute, scalar},
};

/// Issuer of the external provider.
const ISSUER: &str = "https://elsewhere.example/auth/v1";
/// Secret that signs the issuer's tokens.
const SECRET: &str = "a secret of at least thirty-two bytes";

/// Starts a stack with `AUTH_PROVIDER=provider` that trusts [`ISSUER`].
pub(crate) async fn stack(provider: &str) -> (Stack, tempfile::TempDir) {
    let directory = tempfile::tempdir().unwrap();
    let secret = directory.path().join("secret");
    fs::write(&secret, SECRET).unwrap();
    let trusted = format!("{ISSUER}=hs256:{}", secret.display());
    let stack = Stack::builder()
        .variable("identity", "AUTH_PROVIDER", provider)
        .variable("identity", "TRUSTED_ISSUERS", &trusted)
        .variable("data", "TRUSTED_ISSUERS", trusted)
        .start();
    (stack.await.unwrap(), directory)
}

/// Returns a client of `person` with a token of [`ISSUER`].
pub(crate) fn external_person(stack: &Stack, person: Uuid) -> Client {
    let now = chrono::Utc::now().timestamp();
    let claims = Claims {
        iss: ISSUER.to_owned(),
        aud: "authenticated".to_owned(),
        sub: person,
        role: ROLE.to_owned(),
        iat: now,
        exp: now + 600,
        session_id: None,
        unmet: Vec::new(),
    };
    let key = EncodingKey::from_secret(SECRET.as_bytes());
    let token = encode(&Header::new(Algorithm::HS256), &claims, &key).unwrap();
    stack.anonymous().unwrap().with_token(&token).unwrap()
}

/// Returns whether data has provisioned the person.
async fn is_provisioned(client: &Client) -> bool {
    let list = ListMessagesRequest::default();
    client.conversation().list_messages(list).await.is_ok()
}

#[tokio::test]
async fn sign_up_sign_in_and_refresh_are_refused() {
    let (stack, _directory) = stack("external").await;
    let anonymous = stack.anonymous().unwrap();
    let sign_in = SignInRequest {
        email: "ada@example.org".into(),
        password: PASSWORD.into(),
        request_id: random::uuid().to_string(),
        ..SignInRequest::default()
    };
    let refused = [
        anonymous
            .account()
            .sign_up(sign_up_request("ada@example.org", PASSWORD))
            .await
            .unwrap_err(),
        anonymous
            .account()
            .sign_up(haven_proto::identity::v1::SignUpRequest::default())
            .await
            .unwrap_err(),
        anonymous.session().sign_in(sign_in).await.unwrap_err(),
        anonymous
            .session()
            .refresh_session(RefreshSessionRequest::default())
            .await
            .unwrap_err(),
    ];
    for status in refused {
        assert_eq!(reason(&status), "AUTH_PROVIDER_EXTERNAL");
    }
    let rows: i64 = scalar(&stack.database, "SELECT count(*) FROM identity.users").await;
    assert_eq!(rows, 0);
}

#[tokio::test]
async fn an_external_token_creates_one_account_on_first_use() {
    let (stack, _directory) = stack("external").await;
    let person = random::uuid();
    let client = external_person(&stack, person);
    let backend = stack.service("backend").unwrap();
    let status = get(&backend, &person.to_string()).await.unwrap_err();
    assert_eq!(reason(&status), "NOT_FOUND", "a service creates no account");

    let answers = join_all((0..20).map(|_| get(&client, ""))).await;
    let account = answers[0].as_ref().unwrap();
    for answer in &answers {
        assert_eq!(answer.as_ref().unwrap(), account);
    }
    assert_eq!(account.id, person.to_string());
    assert!(account.email.is_empty() && account.goals.is_empty() && account.last_active_time.is_none());
    assert_eq!((account.stage, account.version), (1, 1));
    assert!(
        is_provisioned(&client).await,
        "data provisions the person before the response"
    );
    let rows: String = scalar(
        &stack.database,
        "SELECT (SELECT count(*) FROM identity.users) || ' ' || (SELECT count(*) FROM data.users) || ' '
            || (SELECT string_agg(event, ',') FROM identity.security_audit_log)",
    )
    .await;
    assert_eq!(rows, "1 1 sign_up");
    assert_eq!(&get(&backend, &person.to_string()).await.unwrap(), account);

    let goals = Account {
        goals: vec![Goal::MakeFriends.into()],
        ..Account::default()
    };
    let updated = update(&client, update_of(goals, &["goals"], 1)).await.unwrap();
    assert_eq!(
        (updated.version, updated.goals),
        (2, vec![Goal::MakeFriends.into()])
    );
}

#[tokio::test]
async fn an_update_creates_the_account_as_well() {
    let (stack, _directory) = stack("external").await;
    let client = external_person(&stack, random::uuid());
    let goals = Account {
        goals: vec![Goal::DatingSkills.into()],
        ..Account::default()
    };
    let updated = update(&client, update_of(goals, &["goals"], 1)).await.unwrap();
    assert_eq!(updated.version, 2);
    assert!(is_provisioned(&client).await);
}

#[tokio::test]
async fn an_erased_person_gets_no_new_account() {
    let (stack, _directory) = stack("external").await;
    let person = random::uuid();
    let client = external_person(&stack, person);
    execute(
        &stack.database,
        &format!(
            "INSERT INTO identity.erasures (user_id, request_id, requested_at, erased, audit_digest)
            VALUES ('{person}', '{person}', now(), '{{}}', sha256(''))"
        ),
    )
    .await;
    let status = get(&client, "").await.unwrap_err();
    assert_eq!(reason(&status), "ACCOUNT_ERASED");
    let goals = Account {
        goals: vec![Goal::DatingSkills.into()],
        ..Account::default()
    };
    let status = update(&client, update_of(goals, &["goals"], 1))
        .await
        .unwrap_err();
    assert_eq!(reason(&status), "ACCOUNT_ERASED");
    let rows: i64 = scalar(
        &stack.database,
        "SELECT (SELECT count(*) FROM identity.users) + (SELECT count(*) FROM identity.outbox)",
    )
    .await;
    assert_eq!(rows, 0);
}

#[tokio::test]
async fn an_external_token_creates_no_account_where_haven_is_the_provider() {
    let (stack, _directory) = stack("haven").await;
    let person = random::uuid();
    let client = external_person(&stack, person);
    for user_id in [String::new(), person.to_string()] {
        let status = get(&client, &user_id).await.unwrap_err();
        assert_eq!(reason(&status), "NOT_FOUND");
    }
    // A trusted issuer's token gives access to an account that Haven created for the same person.
    let ada = stack.person().await.unwrap();
    assert_eq!(
        get(&external_person(&stack, ada.id), "").await.unwrap().email,
        ada.email
    );
}
