//! Retries of SignUp: one account for each request, and none for another content under the same request id.

use futures_util::future::join_all;
use haven_proto::identity::v1::{Account, ConsentGrant, Goal, SignUpRequest};
use haven_testkit::{Client, Stack, client::sign_up_request};
use tonic::Status;

use crate::{
    concurrently::{CALLS, concurrently},
    eventually::eventually,
    retry::retry_call,
    status::reason,
    superuser_sql::scalar,
};

/// Password that meets the policy.
const PASSWORD: &str = "Correct-Horse-7-Battery";

/// Calls SignUp with retries.
async fn sign_up(client: &Client, request: SignUpRequest) -> Result<Account, Status> {
    let mut accounts = client.account();
    let answer = retry_call(request, async |request| accounts.sign_up(request).await);
    Ok(answer.await?.account.unwrap())
}

/// Checks that there is one account with its consents and its request, and one person in data.
async fn there_is_one_account(stack: &Stack, id: &str) {
    let rows: String = scalar(
        &stack.database,
        "SELECT (SELECT string_agg(id::text, ' ') FROM identity.users) || ', consents '
            || (SELECT count(*) FROM identity.consents) || ', requests '
            || (SELECT count(*) FROM identity.requests WHERE method = 'SignUp')",
    )
    .await;
    assert_eq!(rows, format!("{id}, consents 2, requests 1"));
    let messages: i64 = scalar(&stack.database, "SELECT count(*) FROM identity.outbox").await;
    assert!(messages <= 1, "{messages} messages about one person");
    eventually("the outbox is empty", async || {
        scalar::<i64>(&stack.database, "SELECT count(*) FROM identity.outbox").await == 0
    })
    .await;
    let people: String = scalar(
        &stack.database,
        "SELECT string_agg(id::text, ' ') FROM data.users",
    )
    .await;
    assert_eq!(people, id);
}

#[tokio::test]
async fn a_retried_sign_up_gets_the_first_response() {
    let stack = Stack::start().await.unwrap();
    let anonymous = stack.anonymous().unwrap();
    let request = sign_up_request("Ada@Example.org", PASSWORD);
    let first = sign_up(&anonymous, request.clone()).await.unwrap();
    assert_eq!(sign_up(&anonymous, request.clone()).await.unwrap(), first);

    // The response is the account as it was created, also when it has changed since.
    anonymous.sign_in("ada@example.org", PASSWORD).await.unwrap();
    assert_eq!(sign_up(&anonymous, request).await.unwrap(), first);
    there_is_one_account(&stack, &first.id).await;
}

#[tokio::test]
async fn concurrent_retries_make_one_account() {
    let stack = Stack::start().await.unwrap();
    let anonymous = stack.anonymous().unwrap();
    let request = sign_up_request("ada@example.org", PASSWORD);
    let answer = concurrently(CALLS, || async {
        sign_up(&anonymous, request.clone()).await.unwrap()
    })
    .await;
    there_is_one_account(&stack, &answer.id).await;
}

#[tokio::test]
async fn a_request_id_belongs_to_one_content() {
    let stack = Stack::start().await.unwrap();
    let anonymous = stack.anonymous().unwrap();
    let request = sign_up_request("ada@example.org", PASSWORD);
    let first = sign_up(&anonymous, request.clone()).await.unwrap();
    let newsletter = ConsentGrant {
        document: "newsletter".into(),
        document_version: "1".into(),
    };
    let others = [
        SignUpRequest {
            goals: vec![Goal::MakeFriends.into()],
            ..request.clone()
        },
        SignUpRequest {
            consents: [request.consents.clone(), vec![newsletter]].concat(),
            ..request.clone()
        },
        SignUpRequest {
            password: "Another-Horse-8-Battery".into(),
            ..request.clone()
        },
        SignUpRequest {
            email: "bob@example.org".into(),
            ..request.clone()
        },
        SignUpRequest {
            email: "Ada@example.org".into(),
            ..request.clone()
        },
    ];
    for other in others {
        let status = sign_up(&anonymous, other.clone()).await.unwrap_err();
        assert_eq!(reason(&status), "REQUEST_ID_REUSED", "{other:?}");
    }
    assert_eq!(sign_up(&anonymous, request).await.unwrap(), first);
    there_is_one_account(&stack, &first.id).await;
}

#[tokio::test]
async fn one_of_several_concurrent_sign_ups_with_one_request_id_succeeds() {
    let stack = Stack::start().await.unwrap();
    let anonymous = stack.anonymous().unwrap();
    let request = sign_up_request("", PASSWORD);
    let attempts = (0..10).map(|i| SignUpRequest {
        email: format!("person-{i}@example.org"),
        ..request.clone()
    });
    let outcomes = join_all(attempts.map(|attempt| sign_up(&anonymous, attempt))).await;
    let (made, refused): (Vec<_>, Vec<_>) = outcomes.into_iter().partition(Result::is_ok);
    let [Ok(account)] = made.as_slice() else {
        panic!("not one account: {made:?}")
    };
    for status in refused {
        assert_eq!(reason(&status.unwrap_err()), "REQUEST_ID_REUSED");
    }
    there_is_one_account(&stack, &account.id).await;
}

#[tokio::test]
async fn guesses_of_the_password_of_a_sign_up_have_to_wait() {
    let stack = Stack::start().await.unwrap();
    let anonymous = stack.anonymous().unwrap();
    let request = sign_up_request("ada@example.org", PASSWORD);
    anonymous.account().sign_up(request.clone()).await.unwrap();
    let mut reasons = Vec::new();
    for number in 0..6 {
        let guess = SignUpRequest {
            password: format!("Another-Horse-{number}-Battery"),
            ..request.clone()
        };
        let status = anonymous.account().sign_up(guess).await.unwrap_err();
        reasons.push(reason(&status));
    }
    assert_eq!(reasons[..4], ["REQUEST_ID_REUSED"; 4]);
    assert!(reasons[4..].contains(&"RATE_LIMITED".to_owned()), "{reasons:?}");
    // Other sign-ups do not wait.
    sign_up(&anonymous, sign_up_request("bob@example.org", PASSWORD))
        .await
        .unwrap();
}
