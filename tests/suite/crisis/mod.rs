//! `haven.data.v1.CrisisService`: crisis events of people, and the feed that services watch.

mod detected_in_message;
mod events;
mod failing_detectors;
mod feed_order;
mod idle_watch;
mod watch_crisis_events;
mod watch_restarts;
mod watch_wakeup;

use std::time::Duration;

use haven_proto::data::v1::{CrisisEvent, WatchCrisisEventsRequest, WatchCrisisEventsResponse};
use haven_testkit::{Client, Person, Stack, random};
use tokio::time::{Instant, timeout, timeout_at};
use tonic::{Status, Streaming};

use crate::superuser_sql::execute;

/// A time limit that no wait here reaches, also on a machine that is busy with other tests.
const LIMIT: Duration = Duration::from_secs(30);

/// Inserts an event of `person`, as if one had been found in a message. Returns its id.
async fn store_event(stack: &Stack, person: &Person) -> String {
    store_event_at(stack, person, "now()").await
}

/// Inserts an event of `person` at the time of the SQL expression `time`. Returns its id.
async fn store_event_at(stack: &Stack, person: &Person, time: &str) -> String {
    let id = random::uuid().to_string();
    execute(&stack.database, &insertion(person, &id, time)).await;
    id
}

/// Returns the SQL that inserts an event with `id`.
fn insertion(person: &Person, id: &str, time: &str) -> String {
    format!(
        "INSERT INTO data.crisis_events
             (user_id, id, trigger_type, severity_level, resources_shown, followup_required, created_at)
         VALUES ('{}', '{id}', 'abuse', 'high', '{{find_a_helpline,emergency_services}}', true, {time})",
        person.id
    )
}

/// An open stream of WatchCrisisEvents.
struct Watcher(Streaming<WatchCrisisEventsResponse>);

impl Watcher {
    /// Opens a stream that begins after `cursor`; at the first event when it is empty.
    async fn start(client: &Client, cursor: &str) -> Result<Self, Status> {
        let request = WatchCrisisEventsRequest {
            cursor: cursor.to_owned(),
        };
        let answer = timeout(LIMIT, client.crisis().watch_crisis_events(request)).await;
        Ok(Self(answer.expect("the stream begins")?.into_inner()))
    }

    /// Returns the next event and its cursor, or the status that the stream ends with. Answers without an event, which an idle
    /// watch sends, are passed over.
    async fn next(&mut self) -> Result<(CrisisEvent, String), Status> {
        let limit = Instant::now() + LIMIT;
        loop {
            let next = timeout_at(limit, self.0.message())
                .await
                .expect("an event or an end")?;
            let WatchCrisisEventsResponse { event, cursor } = next.expect("the stream ends with a status");
            if let Some(event) = event {
                return Ok((event, cursor));
            }
        }
    }

    /// Returns the ids of the next `count` events, with their cursors.
    async fn take(&mut self, count: usize) -> Vec<(String, String)> {
        let mut taken = Vec::new();
        for _ in 0..count {
            let (event, cursor) = self.next().await.unwrap();
            taken.push((event.id, cursor));
        }
        taken
    }

    /// Returns the ids of the next `count` events.
    async fn ids(&mut self, count: usize) -> Vec<String> {
        self.take(count).await.into_iter().map(|(id, _)| id).collect()
    }

    /// Returns the id of the next event.
    async fn id(&mut self) -> String {
        let (event, _) = self.next().await.unwrap();
        event.id
    }

    /// Returns the status that the stream ends with, before any further event.
    async fn end(&mut self) -> Status {
        self.next().await.map(drop).expect_err("the stream ends")
    }
}
