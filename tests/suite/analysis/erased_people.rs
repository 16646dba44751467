//! People who are not known to data, not yet or not any more, or are about not to be.

use futures_util::future::{join, join_all};
use haven_proto::data::v1::EraseUserRequest;
use haven_testkit::{Person, Stack, port::Port, random};

use super::{ask, get, say, stored_result::found};
use crate::{retry::retry_call, status::reason, superuser_sql::scalar};

async fn erase(stack: &Stack, person: &Person) {
    let request = EraseUserRequest {
        user_id: person.id.to_string(),
        request_id: random::uuid().to_string(),
    };
    let identity = stack.service("identity").unwrap();
    let mut people = identity.person();
    // Of two who wait for each other Postgres picks one, who has to try again.
    let erased = retry_call(request, async |request| people.erase_user(request).await);
    erased.await.unwrap();
}

#[tokio::test]
async fn whom_data_does_not_know_it_says_why() {
    let nowhere = Port::reserve().unwrap();
    let wrong = format!("https://localhost:{}", nowhere.number());
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
async fn who_is_erased_has_no_analyses() {
    let stack = Stack::start().await.unwrap();
    let ada = stack.person().await.unwrap();
    let client = stack.user(&ada).unwrap();
    say(&client, 3).await;
    ask(&client).await.unwrap();
    let id = found(&stack, &ada, (10, 20), &["x"]).await.to_string();
    erase(&stack, &ada).await;
    assert_eq!(reason(&ask(&client).await.unwrap_err()), "ACCOUNT_ERASED");
    assert_eq!(reason(&get(&client, &id).await.unwrap_err()), "NOT_FOUND");
    let left: i64 = scalar(
        &stack.database,
        "SELECT (SELECT count(*) FROM data.analysis_jobs) + (SELECT count(*) FROM data.analysis_results)",
    )
    .await;
    assert_eq!(left, 0);
}

#[tokio::test]
async fn who_is_erased_while_they_ask_leaves_nothing() {
    let stack = Stack::start().await.unwrap();
    for _ in 0..5 {
        let ada = stack.person().await.unwrap();
        let client = stack.user(&ada).unwrap();
        say(&client, 3).await;
        let asks = join_all((0..10).map(|_| ask(&client)));
        let (asked, ()) = join(asks, erase(&stack, &ada)).await;
        for status in asked.into_iter().filter_map(Result::err) {
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
