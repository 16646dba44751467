//! A finding in a message: in the answer to the person, in their list of events, and in the feed that services watch.

use haven_proto::data::v1::{
    AppendMessageResponse, CrisisEvent, CrisisSeverityLevel, CrisisTriggerType, DeleteMessageRequest,
    ListCrisisEventsRequest,
};
use haven_testkit::{Client, Stack, random};

use super::Watcher;
use crate::{
    crisis_message::{say_until_heard, saying},
    metrics::Metrics,
    superuser_sql::scalar,
};

async fn say(client: &Client, text: &str) -> AppendMessageResponse {
    let answer = client.conversation().append_message(saying(text)).await;
    answer.unwrap().into_inner()
}

#[tokio::test]
async fn a_finding_reaches_the_person_and_the_watchers() {
    let stack = Stack::start().await.unwrap();
    let person = stack.person().await.unwrap();
    let ada = stack.user(&person).unwrap();
    let backend = stack.service("backend").unwrap();
    let mut watcher = Watcher::start(&backend, "").await.unwrap();
    for text in [
        "I died laughing",
        "this homework is killing me",
        "how do you kill time?",
    ] {
        assert_eq!(say(&ada, text).await.crisis, None, "{text}");
    }
    let text = "Some days I WANT to\nkill\u{200b} myself…";
    let (_, message, found) = say_until_heard(&ada, text).await;
    assert_eq!(found.trigger_type(), CrisisTriggerType::Suicide);
    assert_eq!(found.severity_level(), CrisisSeverityLevel::Critical);
    assert!(!found.resources.is_empty());

    let (event, cursor) = watcher.next().await.unwrap();
    assert_eq!(
        (event.id.as_str(), event.message_id.as_str()),
        (found.event_id.as_str(), message.id.as_str())
    );
    assert_eq!(event.user_id, person.id.to_string());
    assert_eq!(event.trigger_type(), found.trigger_type());
    assert_eq!(event.severity_level(), found.severity_level());
    assert_eq!(event.resources, found.resources);
    assert!(event.followup_required);
    assert_eq!(event.create_time, message.create_time);
    let list = ListCrisisEventsRequest::default();
    let listed = ada
        .crisis()
        .list_crisis_events(list.clone())
        .await
        .unwrap()
        .into_inner();
    assert_eq!(listed.events, std::slice::from_ref(&event));

    // The event stays, because it may still need a follow-up.
    let delete = DeleteMessageRequest {
        message_id: message.id,
        request_id: random::uuid().to_string(),
    };
    ada.conversation().delete_message(delete).await.unwrap();
    let listed = ada.crisis().list_crisis_events(list).await.unwrap().into_inner();
    let left = CrisisEvent {
        message_id: String::new(),
        ..event
    };
    assert_eq!(listed.events, [left]);

    say_until_heard(&ada, "a book about suicide").await;
    let (event, _) = watcher.next().await.unwrap();
    assert_eq!(event.severity_level(), CrisisSeverityLevel::Low);
    assert!(!event.followup_required);
    let (again, _) = Watcher::start(&backend, &cursor)
        .await
        .unwrap()
        .next()
        .await
        .unwrap();
    assert_eq!(again, event);

    let metrics = Metrics::read(stack.data.listeners.metrics).await;
    let count = |outcome| metrics.sum("haven_crisis_detections_total", &[("outcome", outcome)]);
    assert_eq!(count("found"), Some(2.0));
    let written: i64 = scalar(
        &stack.database,
        "SELECT sum(last_number)::bigint FROM data.conversation_counters",
    )
    .await;
    assert_eq!(
        metrics.sum("haven_crisis_detections_total", &[]),
        Some(written as f64)
    );
    // These series exist before their first event.
    for outcome in ["clear", "slow", "panicked", "busy"] {
        assert!(count(outcome).is_some(), "{outcome}");
    }
    assert!(metrics.sum("haven_crisis_detections_running", &[]).is_some());
    assert!(metrics.sum("haven_crisis_detection_seconds_count", &[]) >= Some(2.0));
    assert!(metrics.page.contains("# HELP haven_crisis_detections_total "));
}
