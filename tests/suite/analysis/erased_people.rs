//! Analyses of people that the data service does not know yet, has erased, or is erasing.

use futures_util::future::{join, join_all};
use haven_proto::data::v1::EraseUserRequest;
use haven_testkit::{Person, Stack, port::Port, random};

use super::{ask, get, say, stored_result::store_result};
use crate::{retry::retry_call, status::reason, superuser_sql::scalar, superuser_sql::scalar_with};

/// Erases a person, with retries.
async fn erase(stack: &Stack, person: &Person) {
    let request = EraseUserRequest {
        user_id: person.id.to_string(),
        request_id: random::uuid().to_string(),
    };
    let identity = stack.service("identity").unwrap();
    let mut people = identity.person();
    // Postgres ends one of two transactions in a deadlock, and its caller has to retry.
    let erased = retry_call(request, async |request| people.erase_user(request).await);
    erased.await.unwrap();
}

#[tokio::test]
async fn requests_of_unknown_people_are_refused_with_the_reason() {
    let unused = Port::reserve().unwrap();
    let wrong = format!("https://localhost:{}", unused.number());
    let stack = Stack::builder()
        .variable("identity", "DATA_URL", wrong)
        .start()
        .await
        .unwrap();
    let ada = stack.person().await.unwrap();
    let client = stack.user(&ada).unwrap();
    assert_eq!(reason(&ask(&client).await.unwrap_err()), "ACCOUNT_NOT_READY");
    erase(&stack, &ada).await;
    assert_eq!(reason(&ask(&client).await.unwrap_err()), "ACCOUNT_ERASED");
}

#[tokio::test]
async fn an_erased_person_has_no_analyses() {
    let stack = Stack::shared().await.unwrap();
    let ada = stack.person().await.unwrap();
    let client = stack.user(&ada).unwrap();
    say(&client, 3).await;
    ask(&client).await.unwrap();
    let id = store_result(stack, &ada, (10, 20), &["x"]).await.to_string();
    erase(stack, &ada).await;
    assert_eq!(reason(&ask(&client).await.unwrap_err()), "ACCOUNT_ERASED");
    assert_eq!(reason(&get(&client, &id).await.unwrap_err()), "NOT_FOUND");
    let left: i64 = scalar_with(
        &stack.database,
        "SELECT (SELECT count(*) FROM data.analysis_jobs WHERE user_id = $1)
             + (SELECT count(*) FROM data.analysis_results WHERE user_id = $1)",
        ada.id,
    )
    .await;
    assert_eq!(left, 0);
}

#[tokio::test]
async fn a_person_erased_during_requests_leaves_no_rows() {
    let stack = Stack::start().await.unwrap();
    for _ in 0..5 {
        let ada = stack.person().await.unwrap();
        let client = stack.user(&ada).unwrap();
        say(&client, 3).await;
        let requests = join_all((0..10).map(|_| ask(&client)));
        let (answers, ()) = join(requests, erase(&stack, &ada)).await;
        for status in answers.into_iter().filter_map(Result::err) {
            let reason = reason(&status);
            assert!(
                ["ACCOUNT_ERASED", "DEPENDENCY_UNAVAILABLE"].contains(&reason.as_str()),
                "{status:?}"
            );
        }
        assert_eq!(reason(&ask(&client).await.unwrap_err()), "ACCOUNT_ERASED");
    }
    let left: i64 = scalar(
        &stack.database,
        "SELECT (SELECT count(*) FROM data.analysis_jobs) + (SELECT count(*) FROM data.conversation_counters)
             + (SELECT count(*) FROM data.requests)",
    )
    .await;
    assert_eq!(left, 0);
}
