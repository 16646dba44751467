//! SignUp: one account for one request, and no second one for what claims to be that request.

use futures_util::future::join_all;
use haven_proto::identity::v1::{Account, ConsentGrant, Goal, SignUpRequest};
use haven_testkit::{Client, Stack, client::sign_up_request};
use tonic::Status;

use super::{CROWD, at_once};
use crate::{eventually::eventually, retry::retry_call, status::reason, superuser_sql::scalar};

const PASSWORD: &str = "Correct-Horse-7-Battery";

async fn sign_up(client: &Client, request: SignUpRequest) -> Result<Account, Status> {
    let mut accounts = client.account();
    let answer = retry_call(request, async |request| accounts.sign_up(request).await);
    Ok(answer.await?.account.unwrap())
}

/// One account with all that belongs to it, and one person.
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
    eventually("data knows the person", async || {
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
async fn a_repeated_sign_up_has_the_first_answer() {
    let stack = Stack::start().await.unwrap();
    let nobody = stack.anonymous().unwrap();
    let request = sign_up_request("Ada@Example.org", PASSWORD);
    let first = sign_up(&nobody, request.clone()).await.unwrap();
    assert_eq!(sign_up(&nobody, request.clone()).await.unwrap(), first);

    // The answer is of the account as it was made, whatever became of it since.
    nobody.sign_in("ada@example.org", PASSWORD).await.unwrap();
    assert_eq!(sign_up(&nobody, request).await.unwrap(), first);
    there_is_one_account(&stack, &first.id).await;
}

#[tokio::test]
async fn fifty_times_at_once_make_one_account() {
    let stack = Stack::start().await.unwrap();
    let nobody = stack.anonymous().unwrap();
    let request = sign_up_request("ada@example.org", PASSWORD);
    let answer = at_once(CROWD, || async {
        sign_up(&nobody, request.clone()).await.unwrap()
    })
    .await;
    there_is_one_account(&stack, &answer.id).await;
}

#[tokio::test]
async fn a_request_id_is_for_one_content() {
    let stack = Stack::start().await.unwrap();
    let nobody = stack.anonymous().unwrap();
    let request = sign_up_request("ada@example.org", PASSWORD);
    let first = sign_up(&nobody, request.clone()).await.unwrap();
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
        let status = sign_up(&nobody, other.clone()).await.unwrap_err();
        assert_eq!(reason(&status), "REQUEST_ID_REUSED", "{other:?}");
    }
    assert_eq!(sign_up(&nobody, request).await.unwrap(), first);
    there_is_one_account(&stack, &first.id).await;
}

#[tokio::test]
async fn of_several_people_with_one_request_id_at_once_one_has_it() {
    let stack = Stack::start().await.unwrap();
    let nobody = stack.anonymous().unwrap();
    let request = sign_up_request("", PASSWORD);
    let attempts = (0..10).map(|i| SignUpRequest {
        email: format!("person-{i}@example.org"),
        ..request.clone()
    });
    let outcomes = join_all(attempts.map(|attempt| sign_up(&nobody, attempt))).await;
    let (made, refused): (Vec<_>, Vec<_>) = outcomes.into_iter().partition(Result::is_ok);
    let [Ok(account)] = made.as_slice() else {
        panic!("not one account: {made:?}")
    };
    for status in refused {
        assert_eq!(reason(&status.unwrap_err()), "REQUEST_ID_REUSED");
    }
    there_is_one_account(&stack, &account.id).await;
}
