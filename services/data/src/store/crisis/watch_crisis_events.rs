//! WatchCrisisEvents: reads the feed of all people's crisis events, for services.

use haven_platform::{
    database::{Context, DbError},
    deadline::Deadline,
};
use uuid::Uuid;

use super::{CrisisEvents, EventRow};
use crate::domain::crisis::CrisisEvent;

/// The number of events that get their number in one transaction. Other transactions wait for it, for milliseconds.
const NUMBERING_BATCH_SIZE: i32 = 500;

/// The number of events that are read from the feed at once.
const READ_BATCH_SIZE: i64 = 100;

/// A position in the feed: after an event, or before all of them (the default).
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct FeedCursor {
    /// The number of the last event that was read, or a later number without events in between. 0 before the first
    /// event.
    pub number: i64,
    /// The id of the event with this number, to be checked against the feed. `None` when the check is not needed.
    pub event: Option<Uuid>,
}

/// A part of the feed.
#[derive(Debug)]
pub struct FeedPart {
    /// Pairs of a number and an event, by number.
    pub events: Vec<(i64, CrisisEvent)>,
    /// The last number that was assigned. No events follow those of this part up to here, unless the part is full.
    pub last_number: i64,
}

// === impl CrisisEvents ===

impl CrisisEvents {
    /// Assigns numbers to new events, and returns the part of the feed after `after`. `None` when `after` is not a
    /// position in this feed: the number was never assigned, or belongs to another event. That happens when a restored
    /// database has lost the end of the feed. A number without an event is accepted: its person may have been erased.
    ///
    /// Events are returned only after their numbers are committed, so every reader sees the same numbers. The SQL
    /// function `data.number_crisis_events` ensures that no event gets a number below one that was read.
    ///
    /// # Errors
    ///
    /// When the database fails.
    pub async fn watch(&self, after: FeedCursor, deadline: Deadline) -> Result<Option<FeedPart>, DbError> {
        let mut tx = self
            .database
            .begin("WatchCrisisEvents", Context::Service, deadline)
            .await?;
        let last_number = sqlx::query_scalar!(
            r#"SELECT /* WatchCrisisEvents, number */ data.number_crisis_events($1) AS "last_number!""#,
            NUMBERING_BATCH_SIZE,
        )
        .fetch_one(&mut tx)
        .await?;
        // Checked now, with the numbers that were just assigned.
        let mut is_in_feed = last_number >= after.number;
        if let Some(event) = after.event {
            let found = sqlx::query_scalar!(
                "SELECT /* WatchCrisisEvents, cursor */ id FROM data.crisis_events WHERE number = $1",
                after.number,
            )
            .fetch_optional(&mut tx)
            .await?;
            is_in_feed &= found.is_none_or(|found| found == event);
        }
        let mut events = Vec::new();
        if is_in_feed && last_number > after.number {
            let rows = sqlx::query!(
                r#"
                SELECT /* WatchCrisisEvents */
                       user_id, id, message_id, trigger_type, severity_level, resources_shown, followup_required,
                    created_at, acknowledged_at, resolved_at, number AS "number!"
                FROM data.crisis_events
                WHERE number > $1 AND number <= $2
                ORDER BY number
                LIMIT $3"#,
                after.number,
                last_number,
                READ_BATCH_SIZE,
            )
            .fetch_all(&mut tx)
            .await?;
            for row in rows {
                let event = EventRow {
                    user_id: row.user_id,
                    id: row.id,
                    message_id: row.message_id,
                    trigger_type: row.trigger_type,
                    severity_level: row.severity_level,
                    resources_shown: row.resources_shown,
                    followup_required: row.followup_required,
                    created_at: row.created_at,
                    acknowledged_at: row.acknowledged_at,
                    resolved_at: row.resolved_at,
                };
                events.push((row.number, event.try_into()?));
            }
        }
        tx.commit().await?;
        Ok(is_in_feed.then_some(FeedPart { events, last_number }))
    }
}

// === impl FeedPart ===

impl FeedPart {
    /// Returns the number after which the next part starts. Numbers of erased events are passed, so that they are
    /// searched only once.
    #[must_use]
    pub fn end(&self) -> i64 {
        match self.events.last() {
            Some((number, _)) if self.events.len() as i64 >= READ_BATCH_SIZE => *number,
            _ => self.last_number,
        }
    }
}
