//! Events of one person: ListCrisisEvents, AcknowledgeCrisisEvent and ResolveCrisisEvent.

use haven_proto::data::v1::{
    AcknowledgeCrisisEventRequest, CrisisEvent, CrisisSeverityLevel, CrisisTriggerType,
    ListCrisisEventsRequest, ListCrisisEventsResponse, ResolveCrisisEventRequest,
};
use haven_testkit::{Client, Person, Stack, random};
use tonic::Status;

use super::{store_event, store_event_at};
use crate::{
    retry::retry,
    status::{reason, violations},
    superuser_sql::{execute_with, scalar},
};

/// Returns a page of the client's events.
async fn page(client: &Client, page_size: i32, page_token: &str) -> Result<ListCrisisEventsResponse, Status> {
    let request = ListCrisisEventsRequest {
        page_size,
        page_token: page_token.to_owned(),
    };
    Ok(client.crisis().list_crisis_events(request).await?.into_inner())
}

/// Returns the only event of the client.
async fn only(client: &Client) -> CrisisEvent {
    let page = page(client, 0, "").await.unwrap();
    assert_eq!(page.events.len(), 1);
    page.events[0].clone()
}

/// Acknowledges one of the client's events.
async fn acknowledge(client: &Client, event_id: &str) -> Result<CrisisEvent, Status> {
    let request = AcknowledgeCrisisEventRequest {
        event_id: event_id.to_owned(),
    };
    let answer = client.crisis().acknowledge_crisis_event(request).await?;
    Ok(answer.into_inner().event.unwrap())
}

/// Resolves an event of `person`, as a service.
async fn resolve(client: &Client, person: &Person, event_id: &str) -> Result<CrisisEvent, Status> {
    let request = ResolveCrisisEventRequest {
        user_id: person.id.to_string(),
        event_id: event_id.to_owned(),
    };
    let answer = client.crisis().resolve_crisis_event(request).await?;
    Ok(answer.into_inner().event.unwrap())
}

/// Runs `act` 50 times concurrently, with retries. Returns the answer, which has to be the same for all.
async fn at_once(act: impl AsyncFn() -> Result<CrisisEvent, Status>) -> CrisisEvent {
    let acts = (0..50).map(async |_| retry(&act).await.unwrap());
    let answers = futures_util::future::join_all(acts).await;
    assert!(answers.iter().all(|answer| answer == &answers[0]), "{answers:?}");
    answers[0].clone()
}

#[tokio::test]
async fn every_page_size_lists_each_event_once_while_new_ones_are_stored() {
    let stack = Stack::shared().await.unwrap();
    let (ada, bob) = (stack.person().await.unwrap(), stack.person().await.unwrap());
    let client = stack.user(&ada).unwrap();
    let empty = page(&client, 0, "").await.unwrap();
    assert!(empty.events.is_empty() && empty.next_page_token.is_empty());

    // Some have the same time; then the id decides the order.
    let now: String = scalar(&stack.database, "SELECT date_trunc('minute', now())::text").await;
    let mut expected = Vec::new();
    for minutes in [9, 8, 8, 8, 7, 6, 6] {
        let time = format!("timestamptz '{now}' - interval '{minutes} min'");
        expected.push((-minutes, store_event_at(stack, &ada, &time).await));
        store_event_at(stack, &bob, &time).await;
    }
    expected.sort_unstable_by(|a, b| b.cmp(a));
    let mut expected: Vec<_> = expected.into_iter().map(|(_, id)| id).collect();
    for size in 1..=8 {
        let (mut seen, mut token, mut pages) = (Vec::new(), String::new(), 0);
        let before = expected.clone();
        loop {
            let page = page(&client, size, &token).await.unwrap();
            assert!(page.events.len() <= size as usize);
            seen.extend(page.events.into_iter().map(|event| event.id));
            pages += 1;
            assert!(pages <= before.len(), "the pages do not end");
            token = page.next_page_token;
            if token.is_empty() {
                break;
            }
            // The new event is newer than the first page, so no later page lists it.
            expected.insert(0, store_event(stack, &ada).await);
        }
        assert_eq!(
            (seen, pages),
            (before.clone(), before.len().div_ceil(size as usize)),
            "{size}"
        );
    }
    let all = page(&client, 200, "").await.unwrap().events;
    assert!(all.iter().all(|event| event.user_id == ada.id.to_string()));
    assert_eq!(
        all.into_iter().map(|event| event.id).collect::<Vec<_>>(),
        expected
    );
}

#[tokio::test]
async fn a_page_token_is_bound_to_its_person() {
    let stack = Stack::shared().await.unwrap();
    let (ada, bob) = (stack.person().await.unwrap(), stack.person().await.unwrap());
    for _ in 0..2 {
        store_event(stack, &ada).await;
    }
    let (ada, bob) = (stack.user(&ada).unwrap(), stack.user(&bob).unwrap());
    let token = page(&ada, 1, "").await.unwrap().next_page_token;
    assert!(page(&ada, 1, &token).await.is_ok());
    for (client, token) in [(&bob, token.as_str()), (&ada, "x"), (&ada, &token[1..])] {
        let status = page(client, 1, token).await.unwrap_err();
        assert_eq!(reason(&status), "PAGE_TOKEN_INVALID");
    }
    let status = page(&ada, -1, "").await.unwrap_err();
    assert_eq!(
        violations(&status),
        [("page_size".to_owned(), "NEGATIVE".to_owned())]
    );
}

#[tokio::test]
async fn an_event_has_its_finding_and_the_resources_shown() {
    let stack = Stack::shared().await.unwrap();
    let ada = stack.person().await.unwrap();
    let id = store_event_at(stack, &ada, "'2026-11-22 06:00:00.123456Z'").await;
    // A resource that this version does not have.
    let add_unknown = "UPDATE data.crisis_events SET resources_shown = resources_shown || 'unknown'::text WHERE user_id = $1";
    execute_with(&stack.database, add_unknown, ada.id).await;
    let event = only(&stack.user(&ada).unwrap()).await;
    assert_eq!((event.id.as_str(), event.message_id.as_str()), (id.as_str(), ""));
    assert_eq!(event.trigger_type(), CrisisTriggerType::Abuse);
    assert_eq!(event.severity_level(), CrisisSeverityLevel::High);
    assert!(event.followup_required);
    let resources: Vec<_> = event
        .resources
        .iter()
        .map(|resource| resource.id.as_str())
        .collect();
    assert_eq!(resources, ["find_a_helpline", "emergency_services"]);
    assert!(
        event
            .resources
            .iter()
            .all(|one| !one.name.is_empty() && !one.contact.is_empty())
    );
    assert_eq!(event.create_time.unwrap().nanos, 123_456_000);
    assert_eq!((event.acknowledge_time, event.resolve_time), (None, None));
}

#[tokio::test]
async fn only_its_person_acknowledges_an_event_and_only_once() {
    let stack = Stack::shared().await.unwrap();
    let (ada, bob) = (stack.person().await.unwrap(), stack.person().await.unwrap());
    let id = store_event(stack, &ada).await;
    let (ada, bob) = (stack.user(&ada).unwrap(), stack.user(&bob).unwrap());
    for (client, id) in [(&bob, id.as_str()), (&ada, &random::uuid().to_string())] {
        let status = acknowledge(client, id).await.unwrap_err();
        assert_eq!(reason(&status), "NOT_FOUND");
    }
    assert_eq!(only(&ada).await.acknowledge_time, None);
    let status = acknowledge(&ada, "x").await.unwrap_err();
    assert_eq!(
        violations(&status),
        [("event_id".to_owned(), "NOT_A_UUID".to_owned())]
    );

    let first = at_once(async || acknowledge(&ada, &id).await).await;
    assert!(first.acknowledge_time.is_some());
    assert_eq!(acknowledge(&ada, &id).await.unwrap(), first);
    assert_eq!(only(&ada).await, first);
}

#[tokio::test]
async fn an_event_is_resolved_once_by_a_service() {
    let stack = Stack::shared().await.unwrap();
    let (ada, bob) = (stack.person().await.unwrap(), stack.person().await.unwrap());
    let id = store_event(stack, &ada).await;
    let backend = stack.service("backend").unwrap();
    let unknown = random::uuid().to_string();
    for (person, id) in [(&bob, &id), (&ada, &unknown)] {
        let status = resolve(&backend, person, id).await.unwrap_err();
        assert_eq!(reason(&status), "NOT_FOUND");
    }
    let status = resolve(&stack.user(&ada).unwrap(), &ada, &id).await.unwrap_err();
    assert_eq!(reason(&status), "ACCESS_DENIED");
    let status = backend
        .crisis()
        .resolve_crisis_event(ResolveCrisisEventRequest::default())
        .await
        .unwrap_err();
    let required = |field: &str| (field.to_owned(), "REQUIRED".to_owned());
    assert_eq!(violations(&status), [required("user_id"), required("event_id")]);

    let first = at_once(async || resolve(&backend, &ada, &id).await).await;
    assert!(first.resolve_time.is_some() && first.acknowledge_time.is_none());
    // The person sees the resolution, and acknowledging the event does not change it.
    let seen = acknowledge(&stack.user(&ada).unwrap(), &id).await.unwrap();
    assert_eq!(seen.resolve_time, first.resolve_time);
    assert_eq!(resolve(&backend, &ada, &id).await.unwrap(), seen);
}
