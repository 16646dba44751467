//! Crises: what is found in messages, who sees it, and the feed that services watch.

mod detected_in_message;
mod events;
mod failing_detectors;
mod feed_order;
mod watch_crisis_events;
mod watch_restarts;
mod watch_wakeup;

use std::time::Duration;

use haven_proto::data::v1::{CrisisEvent, WatchCrisisEventsRequest, WatchCrisisEventsResponse};
use haven_testkit::{Client, Person, Stack, random};
use tokio::time::timeout;
use tonic::{Status, Streaming};

use crate::superuser_sql::execute;

/// Longer than anything takes that is waited for, also on a machine that is busy with other tests.
const LIMIT: Duration = Duration::from_secs(30);

/// Stores an event of `person`, as if something had been found in a message. Answers its id.
async fn happen(stack: &Stack, person: &Person) -> String {
    happen_at(stack, person, "now()").await
}

/// The same, at the time that an expression of SQL says.
async fn happen_at(stack: &Stack, person: &Person, time: &str) -> String {
    let id = random::uuid().to_string();
    execute(&stack.database, &insertion(person, &id, time)).await;
    id
}

fn insertion(person: &Person, id: &str, time: &str) -> String {
    format!(
        "INSERT INTO data.crisis_events
             (user_id, id, trigger_type, severity_level, resources_shown, followup_required, created_at)
         VALUES ('{}', '{id}', 'abuse', 'high', '{{find_a_helpline,emergency_services}}', true, {time})",
        person.id
    )
}

/// A client that watches.
struct Watcher(Streaming<WatchCrisisEventsResponse>);

impl Watcher {
    /// Begins to watch after `cursor`.
    async fn start(client: &Client, cursor: &str) -> Result<Self, Status> {
        let request = WatchCrisisEventsRequest {
            cursor: cursor.to_owned(),
        };
        let answer = timeout(LIMIT, client.crisis().watch_crisis_events(request)).await;
        Ok(Self(answer.expect("it begins")?.into_inner()))
    }

    /// The next event and its cursor, or how the stream ends.
    async fn next(&mut self) -> Result<(CrisisEvent, String), Status> {
        let next = timeout(LIMIT, self.0.message())
            .await
            .expect("an event or an end")?;
        let WatchCrisisEventsResponse { event, cursor } = next.expect("it ends with a status");
        Ok((event.unwrap(), cursor))
    }

    /// The next events, by their ids, with their cursors.
    async fn take(&mut self, count: usize) -> Vec<(String, String)> {
        let mut taken = Vec::new();
        for _ in 0..count {
            let (event, cursor) = self.next().await.unwrap();
            taken.push((event.id, cursor));
        }
        taken
    }

    /// The ids of the next events.
    async fn ids(&mut self, count: usize) -> Vec<String> {
        self.take(count).await.into_iter().map(|(id, _)| id).collect()
    }

    /// The id of the next event.
    async fn id(&mut self) -> String {
        let (event, _) = self.next().await.unwrap();
        event.id
    }

    /// How the stream ends, with nothing before.
    async fn end(&mut self) -> Status {
        self.next().await.map(drop).expect_err("it ends")
    }
}
