//! What is found of a crisis in a message: stored with it, answered with it, and kept without it.

use futures_util::future::join_all;
use haven_proto::data::v1::{
    AppendMessageRequest, AppendMessageResponse, CrisisSeverityLevel, CrisisTriggerType, SenderType,
    UpdateMessageRequest, UpdateMessageResponse,
};
use haven_testkit::{Client, Stack};

use super::{change, delete, deletion, message, say};
use crate::{
    crisis_message::{ALARMING, say_until_heard},
    retry::retry_call,
    superuser_sql::scalar,
};

async fn append(client: &Client, request: &AppendMessageRequest) -> AppendMessageResponse {
    let mut conversation = client.conversation();
    let call = async |request| conversation.append_message(request).await;
    retry_call(request.clone(), call).await.unwrap()
}

async fn update(client: &Client, request: &UpdateMessageRequest) -> UpdateMessageResponse {
    let mut conversation = client.conversation();
    let call = async |request| conversation.update_message(request).await;
    retry_call(request.clone(), call).await.unwrap()
}

/// How many events there are of the message, or of none.
async fn events(stack: &Stack) -> (i64, i64) {
    let of_messages = "SELECT count(*) FROM data.crisis_events AS e
        JOIN data.conversations AS c ON c.user_id = e.user_id AND c.id = e.message_id";
    let all = "SELECT count(*) FROM data.crisis_events";
    let of_messages: i64 = scalar(&stack.database, of_messages).await;
    let all: i64 = scalar(&stack.database, all).await;
    (of_messages, all - of_messages)
}

#[tokio::test]
async fn what_is_found_is_stored_with_the_message_and_answered_with_it() {
    let stack = Stack::start().await.unwrap();
    let ada = stack.user(&stack.person().await.unwrap()).unwrap();
    let harmless = append(&ada, &message(SenderType::User, "I went to a party")).await;
    assert_eq!(harmless.crisis, None);
    assert_eq!(events(&stack).await, (0, 0));

    let (request, stored, found) = say_until_heard(&ada, ALARMING).await;
    assert_eq!(found.trigger_type(), CrisisTriggerType::Suicide);
    assert_eq!(found.severity_level(), CrisisSeverityLevel::Critical);
    let shown: Vec<_> = found
        .resources
        .iter()
        .map(|resource| resource.id.as_str())
        .collect();
    assert!(shown.contains(&"find_a_helpline"), "{shown:?}");
    for resource in &found.resources {
        assert!(
            !resource.name.is_empty() && !resource.contact.is_empty(),
            "{resource:?}"
        );
    }
    assert_eq!(events(&stack).await, (1, 0));
    let as_found = "SELECT count(*) FROM data.crisis_events AS e
        JOIN data.conversations AS c ON c.user_id = e.user_id AND c.id = e.message_id
        WHERE e.trigger_type = 'suicide' AND e.severity_level = 'critical' AND e.followup_required
            AND e.created_at = c.created_at AND cardinality(e.resources_shown) > 0
            AND num_nonnulls(e.acknowledged_at, e.resolved_at) = 0";
    assert_eq!(scalar::<i64>(&stack.database, as_found).await, 1);
    let id: String = scalar(&stack.database, "SELECT id::text FROM data.crisis_events").await;
    assert_eq!(id, found.event_id);

    let first = AppendMessageResponse {
        message: Some(stored),
        crisis: Some(found),
    };
    let again = join_all((0..20).map(|_| append(&ada, &request))).await;
    assert_eq!(again, vec![first; 20]);
    assert_eq!(events(&stack).await, (1, 0));
}

#[tokio::test]
async fn a_retry_is_told_what_was_found_and_not_what_is_found_now() {
    let stack = Stack::start().await.unwrap();
    let ada = stack.user(&stack.person().await.unwrap()).unwrap();
    let (request, _, found) = say_until_heard(&ada, ALARMING).await;
    // As if it had been found by another detector, and shown with what is not known any more.
    let sql = "UPDATE data.requests SET answer = jsonb_set(jsonb_set(answer,
            '{finding,trigger_type}', '\"abuse\"'),
            '{finding,resources}', '[\"a_line_that_was_closed\", \"find_a_helpline\"]')
        WHERE answer ? 'finding'";
    crate::superuser_sql::execute(&stack.database, sql).await;
    let told = append(&ada, &request).await.crisis.unwrap();
    assert_eq!(told.event_id, found.event_id);
    assert_eq!(told.trigger_type(), CrisisTriggerType::Abuse);
    let shown: Vec<_> = told
        .resources
        .iter()
        .map(|resource| resource.id.as_str())
        .collect();
    assert_eq!(shown, ["find_a_helpline"]);
}

#[tokio::test]
async fn nothing_is_looked_for_in_what_others_say() {
    let stack = Stack::start().await.unwrap();
    let ada = stack.person().await.unwrap();
    let through = stack.service("backend").unwrap().with_token(&ada.token).unwrap();
    for sender in [SenderType::Coach, SenderType::System] {
        for _ in 0..5 {
            assert_eq!(append(&through, &message(sender, ALARMING)).await.crisis, None);
        }
    }
    assert_eq!(events(&stack).await, (0, 0));
    say_until_heard(&through, ALARMING).await;
    assert_eq!(events(&stack).await, (1, 0));
}

#[tokio::test]
async fn a_changed_message_is_looked_at_again() {
    let stack = Stack::start().await.unwrap();
    let ada = stack.user(&stack.person().await.unwrap()).unwrap();
    let mut said = say(&ada, "I want to go home").await;
    let mut found = None;
    for _ in 0..100 {
        let request = change(&said, ALARMING);
        let answer = update(&ada, &request).await;
        said = answer.message.clone().unwrap();
        if answer.crisis.is_some() {
            assert_eq!(update(&ada, &request).await, answer);
            found = answer.crisis;
            break;
        }
    }
    let found = found.expect("nothing was found in a hundred changes");
    assert_eq!(found.severity_level(), CrisisSeverityLevel::Critical);
    assert_eq!(events(&stack).await, (1, 0));
    let as_changed = "SELECT count(*) FROM data.crisis_events AS e
        JOIN data.conversations AS c ON c.user_id = e.user_id AND c.id = e.message_id
        WHERE e.created_at = c.updated_at AND e.id::text = (
            SELECT answer #>> '{finding,event_id}' FROM data.requests WHERE answer ? 'finding')";
    assert_eq!(scalar::<i64>(&stack.database, as_changed).await, 1);
    // What was found stays found, and a change that is refused finds nothing.
    let harmless = update(&ada, &change(&said, "I want to go home")).await;
    assert_eq!(harmless.crisis, None);
    let stale = change(&said, ALARMING);
    assert!(ada.conversation().update_message(stale).await.is_err());
    assert_eq!(events(&stack).await, (1, 0));
}

#[tokio::test]
async fn an_event_is_kept_without_its_message() {
    let stack = Stack::start().await.unwrap();
    let ada = stack.user(&stack.person().await.unwrap()).unwrap();
    let (request, stored, found) = say_until_heard(&ada, ALARMING).await;
    delete(&ada, deletion(&stored)).await.unwrap();
    let unnamed = "SELECT count(*) FROM data.crisis_events WHERE message_id IS NULL";
    assert_eq!(scalar::<i64>(&stack.database, unnamed).await, 1);
    assert_eq!(append(&ada, &request).await.crisis, Some(found));
    assert_eq!(events(&stack).await, (0, 1));
}
