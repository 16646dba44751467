//! Retries of SignIn: one session for each request.

use base64::prelude::{BASE64_URL_SAFE_NO_PAD, Engine};
use haven_proto::identity::v1::{SignInRequest, SignInResponse};
use haven_testkit::{Client, Person, Stack, client::sign_up_request, random};
use tonic::Status;

use crate::{
    concurrently::{CALLS, concurrently},
    retry::retry_call,
    status::reason,
    superuser_sql::scalar_with,
};

/// Response without the access token, and the token's claims. The signature may differ between responses.
type Answer = (SignInResponse, serde_json::Value);

/// Returns a SignIn request of the person, under a new request id.
fn request_of(person: &Person) -> SignInRequest {
    SignInRequest {
        email: person.email.clone(),
        password: person.password.clone(),
        request_id: random::uuid().to_string(),
        ..SignInRequest::default()
    }
}

/// Calls SignIn with retries.
async fn sign_in(client: &Client, request: SignInRequest) -> Result<Answer, Status> {
    let mut sessions = client.session();
    let answer = retry_call(request, async |request| sessions.sign_in(request).await);
    let mut answer = answer.await?;
    let token = std::mem::take(&mut answer.access_token);
    let claims = token.split('.').nth(1).unwrap();
    let claims = BASE64_URL_SAFE_NO_PAD.decode(claims).unwrap();
    Ok((answer, serde_json::from_slice(&claims).unwrap()))
}

/// Counts the sessions of the person.
async fn sessions(stack: &Stack, person: &Person) -> i64 {
    let sql = "SELECT count(*) FROM identity.sessions WHERE user_id = $1";
    scalar_with(&stack.database, sql, person.id).await
}

#[tokio::test]
async fn a_retried_sign_in_begins_no_second_session() {
    let stack = Stack::shared().await.unwrap();
    let ada = stack.person().await.unwrap();
    let anonymous = stack.anonymous().unwrap();
    let before = sessions(stack, &ada).await;
    let request = request_of(&ada);
    let first = sign_in(&anonymous, request.clone()).await.unwrap();
    // Tokens carry times in whole seconds. A second later, a response with equal times comes from the first one.
    tokio::time::sleep(std::time::Duration::from_millis(1_100)).await;
    assert_eq!(sign_in(&anonymous, request).await.unwrap(), first);
    assert_eq!(sessions(stack, &ada).await, before + 1);

    let another = sign_in(&anonymous, request_of(&ada)).await.unwrap();
    assert_ne!(another.0.session_id, first.0.session_id);
}

#[tokio::test]
async fn concurrent_retries_begin_one_session() {
    let stack = Stack::shared().await.unwrap();
    let ada = stack.person().await.unwrap();
    let anonymous = stack.anonymous().unwrap();
    let before = sessions(stack, &ada).await;
    let request = request_of(&ada);
    let (answer, claims) = concurrently(CALLS, || async {
        sign_in(&anonymous, request.clone()).await.unwrap()
    })
    .await;
    assert_eq!(answer.user_id, ada.id.to_string());
    assert_eq!(claims["session_id"], answer.session_id);
    assert_eq!(sessions(stack, &ada).await, before + 1);
}

#[tokio::test]
async fn a_request_id_belongs_to_one_content_of_one_person() {
    let stack = Stack::shared().await.unwrap();
    let anonymous = stack.anonymous().unwrap();
    let name = random::uuid().simple();
    let sign_up = sign_up_request(&format!("ada-{name}@example.org"), "Correct-Horse-7-Battery");
    anonymous.account().sign_up(sign_up.clone()).await.unwrap();
    let ada = anonymous
        .sign_in(&sign_up.email, &sign_up.password)
        .await
        .unwrap();
    let request = request_of(&ada);
    let first = sign_in(&anonymous, request.clone()).await.unwrap();
    let before = sessions(stack, &ada).await;

    let other_spelling = SignInRequest {
        email: format!("ADA-{name}@example.org"),
        ..request.clone()
    };
    let of_the_sign_up = SignInRequest {
        request_id: sign_up.request_id,
        ..request.clone()
    };
    for other in [other_spelling, of_the_sign_up] {
        let status = sign_in(&anonymous, other.clone()).await.unwrap_err();
        assert_eq!(reason(&status), "REQUEST_ID_REUSED", "{other:?}");
    }
    // With a wrong password the refusal reveals nothing about the request.
    let guessed = SignInRequest {
        password: "Another-Horse-8-Battery".into(),
        ..request.clone()
    };
    let status = sign_in(&anonymous, guessed).await.unwrap_err();
    assert_eq!(reason(&status), "CREDENTIALS_INVALID");
    assert_eq!(sessions(stack, &ada).await, before);

    // Request ids belong to a person: Bob may use the same id.
    let bob = stack.person().await.unwrap();
    let with_her_id = SignInRequest {
        request_id: request.request_id.clone(),
        ..request_of(&bob)
    };
    let of_bob = sign_in(&anonymous, with_her_id).await.unwrap();
    assert_eq!(of_bob.0.user_id, bob.id.to_string());
    assert_eq!(sign_in(&anonymous, request).await.unwrap(), first);
}
