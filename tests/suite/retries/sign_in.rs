//! SignIn: one session for one request.

use base64::prelude::{BASE64_URL_SAFE_NO_PAD, Engine};
use haven_proto::identity::v1::{SignInRequest, SignInResponse};
use haven_testkit::{Client, Person, Stack, client::sign_up_request, random};
use tonic::Status;

use super::{CROWD, at_once};
use crate::{retry::retry_call, status::reason, superuser_sql::scalar};

/// A session, and what its token says. The signature may differ from answer to answer.
type Answer = (SignInResponse, serde_json::Value);

fn request_of(person: &Person) -> SignInRequest {
    SignInRequest {
        email: person.email.clone(),
        password: person.password.clone(),
        request_id: random::uuid().to_string(),
    }
}

async fn sign_in(client: &Client, request: SignInRequest) -> Result<Answer, Status> {
    let mut sessions = client.session();
    let answer = retry_call(request, async |request| sessions.sign_in(request).await);
    let mut answer = answer.await?;
    let token = std::mem::take(&mut answer.access_token);
    let claims = token.split('.').nth(1).unwrap();
    let claims = BASE64_URL_SAFE_NO_PAD.decode(claims).unwrap();
    Ok((answer, serde_json::from_slice(&claims).unwrap()))
}

async fn sessions(stack: &Stack) -> i64 {
    scalar(&stack.database, "SELECT count(*) FROM identity.sessions").await
}

#[tokio::test]
async fn a_repeated_sign_in_begins_no_second_session() {
    let stack = Stack::start().await.unwrap();
    let ada = stack.person().await.unwrap();
    let nobody = stack.anonymous().unwrap();
    let before = sessions(&stack).await;
    let request = request_of(&ada);
    let first = sign_in(&nobody, request.clone()).await.unwrap();
    // A token says its times in seconds: the second answer comes out of the first, and not out of this very second.
    tokio::time::sleep(std::time::Duration::from_millis(1_100)).await;
    assert_eq!(sign_in(&nobody, request).await.unwrap(), first);
    assert_eq!(sessions(&stack).await, before + 1);

    let another = sign_in(&nobody, request_of(&ada)).await.unwrap();
    assert_ne!(another.0.session_id, first.0.session_id);
}

#[tokio::test]
async fn fifty_times_at_once_begin_one_session() {
    let stack = Stack::start().await.unwrap();
    let ada = stack.person().await.unwrap();
    let nobody = stack.anonymous().unwrap();
    let before = sessions(&stack).await;
    let request = request_of(&ada);
    let (answer, claims) = at_once(CROWD, || async {
        sign_in(&nobody, request.clone()).await.unwrap()
    })
    .await;
    assert_eq!(answer.user_id, ada.id.to_string());
    assert_eq!(claims["session_id"], answer.session_id);
    assert_eq!(sessions(&stack).await, before + 1);
}

#[tokio::test]
async fn a_request_id_is_for_one_content_of_one_person() {
    let stack = Stack::start().await.unwrap();
    let nobody = stack.anonymous().unwrap();
    let sign_up = sign_up_request("ada@example.org", "Correct-Horse-7-Battery");
    nobody.account().sign_up(sign_up.clone()).await.unwrap();
    let ada = nobody.sign_in(&sign_up.email, &sign_up.password).await.unwrap();
    let request = request_of(&ada);
    let first = sign_in(&nobody, request.clone()).await.unwrap();
    let before = sessions(&stack).await;

    let other_spelling = SignInRequest {
        email: "ADA@example.org".into(),
        ..request.clone()
    };
    let of_the_sign_up = SignInRequest {
        request_id: sign_up.request_id,
        ..request.clone()
    };
    for other in [other_spelling, of_the_sign_up] {
        let status = sign_in(&nobody, other.clone()).await.unwrap_err();
        assert_eq!(reason(&status), "REQUEST_ID_REUSED", "{other:?}");
    }
    // Who does not know the password is told nothing about the request.
    let guessed = SignInRequest {
        password: "Another-Horse-8-Battery".into(),
        ..request.clone()
    };
    let status = sign_in(&nobody, guessed).await.unwrap_err();
    assert_eq!(reason(&status), "CREDENTIALS_INVALID");
    assert_eq!(sessions(&stack).await, before);

    // The id is Ada's own: Bob's request with the same one has nothing to do with hers.
    let bob = stack.person().await.unwrap();
    let with_her_id = SignInRequest {
        request_id: request.request_id.clone(),
        ..request_of(&bob)
    };
    let his = sign_in(&nobody, with_her_id).await.unwrap();
    assert_eq!(his.0.user_id, bob.id.to_string());
    assert_eq!(sign_in(&nobody, request).await.unwrap(), first);
}
