//! Crisis events: a person's own, and everybody's in the order of the feed that services watch.
//!
//! They are stored with their messages: see [`super::append`] and [`super::message_change`].

use std::sync::Arc;

use chrono::{DateTime, Utc};
use haven_platform::{
    call::UserId,
    database::{Context, Database, DbError},
    deadline::Deadline,
    page::PageSize,
};
use uuid::Uuid;

use crate::domain::crisis::{CrisisEvent, Finding, SeverityLevel, TriggerType};

/// How many events get their number in one transaction, during which nobody else numbers any: milliseconds.
const NUMBERED_AT_ONCE: i32 = 500;

/// How many events are read from the feed at once.
const READ_AT_ONCE: i64 = 100;

/// The crisis events.
#[derive(Clone, Debug)]
pub struct CrisisEvents {
    database: Arc<Database>,
}

/// The place of an event among its person's.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct EventPlace {
    /// When the event was stored.
    pub created_at: DateTime<Utc>,
    /// Its id.
    pub id: Uuid,
}

/// Some of a person's events.
#[derive(Debug)]
pub struct EventPage {
    /// The newest first.
    pub events: Vec<CrisisEvent>,
    /// Whether there are more after them.
    pub more: bool,
}

/// A place in the feed: behind an event, or before all of them.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct FeedPlace {
    /// The event's number, or any up to which everything was read. 0: before the first.
    pub number: i64,
    /// The event's id, where it is to be checked that this is the feed in which it has the number.
    pub event: Option<Uuid>,
}

/// A part of the feed.
#[derive(Debug)]
pub struct FeedPart {
    /// Each with its number, in order.
    pub events: Vec<(i64, CrisisEvent)>,
    /// The last number that was given out. There are no events after those of this part up to here, unless the part is
    /// full.
    pub last_number: i64,
}

// === impl CrisisEvents ===

impl CrisisEvents {
    /// Those in `database`.
    #[must_use]
    pub fn new(database: Arc<Database>) -> Self {
        Self { database }
    }

    /// The caller's events, the newest first: at most `size`, from the one after `after`, or from the first.
    ///
    /// # Errors
    ///
    /// When the database fails.
    pub async fn list(
        &self,
        caller: UserId,
        deadline: Deadline,
        after: Option<EventPlace>,
        size: PageSize,
    ) -> Result<EventPage, DbError> {
        let size = usize::from(size.get());
        // One more than asked for shows whether there is a next page.
        let limit = size as i64 + 1;
        let mut tx = self
            .database
            .begin("ListCrisisEvents", Context::User(caller), deadline)
            .await?;
        let rows = sqlx::query_as!(
            EventRow,
            "/* ListCrisisEvents */
            SELECT user_id, id, message_id, trigger_type, severity_level, resources_shown, followup_required,
                created_at, acknowledged_at, resolved_at
            FROM data.crisis_events
            WHERE user_id = $1 AND (created_at, id) < ((SELECT coalesce($2, 'infinity'::timestamptz)), $3)
            ORDER BY created_at DESC, id DESC
            LIMIT $4",
            caller.as_uuid(),
            after.map(|place| place.created_at),
            after.map_or(Uuid::nil(), |place| place.id),
            limit,
        )
        .fetch_all(&mut tx)
        .await?;
        tx.commit().await?;
        let more = rows.len() > size;
        let events = rows
            .into_iter()
            .take(size)
            .map(CrisisEvent::try_from)
            .collect::<Result<_, _>>()?;
        Ok(EventPage { events, more })
    }

    /// Notes that the caller has seen their event at `now`, unless that was noted before. Answers the event as it is then;
    /// none when the caller has no such event.
    ///
    /// # Errors
    ///
    /// When the database fails.
    pub async fn acknowledge(
        &self,
        caller: UserId,
        deadline: Deadline,
        id: Uuid,
        now: DateTime<Utc>,
    ) -> Result<Option<CrisisEvent>, DbError> {
        let mut tx = self
            .database
            .begin("AcknowledgeCrisisEvent", Context::User(caller), deadline)
            .await?;
        // Of many at once each waits for the one before it, and sees what that one set.
        let row = sqlx::query_as!(
            EventRow,
            "/* AcknowledgeCrisisEvent */
            UPDATE data.crisis_events SET acknowledged_at = coalesce(acknowledged_at, $3)
            WHERE user_id = $1 AND id = $2
            RETURNING user_id, id, message_id, trigger_type, severity_level, resources_shown, followup_required,
                created_at, acknowledged_at, resolved_at",
            caller.as_uuid(),
            id,
            now,
        )
        .fetch_optional(&mut tx)
        .await?;
        tx.commit().await?;
        row.map(CrisisEvent::try_from).transpose()
    }

    /// Notes that an event of `person` was followed up at `now`, unless that was noted before. Answers the event as it is
    /// then; none when the person has no such event.
    ///
    /// # Errors
    ///
    /// When the database fails.
    pub async fn resolve(
        &self,
        person: UserId,
        deadline: Deadline,
        id: Uuid,
        now: DateTime<Utc>,
    ) -> Result<Option<CrisisEvent>, DbError> {
        let mut tx = self
            .database
            .begin("ResolveCrisisEvent", Context::ServiceFor(person), deadline)
            .await?;
        let row = sqlx::query_as!(
            EventRow,
            "/* ResolveCrisisEvent */
            UPDATE data.crisis_events SET resolved_at = coalesce(resolved_at, $3)
            WHERE user_id = $1 AND id = $2
            RETURNING user_id, id, message_id, trigger_type, severity_level, resources_shown, followup_required,
                created_at, acknowledged_at, resolved_at",
            person.as_uuid(),
            id,
            now,
        )
        .fetch_optional(&mut tx)
        .await?;
        tx.commit().await?;
        row.map(CrisisEvent::try_from).transpose()
    }

    /// What is in the feed after `after`. New events are put at its end first. None when `after` is no place in this feed, as when
    /// a restored database has lost a part of it: the number was not given out, or to another event. An event that is not
    /// there proves nothing: its person may have been erased.
    ///
    /// Nothing is sent to anybody before the numbers are committed, and so they are the same for everybody who ever reads
    /// them. That no event gets a number below one that was read is the doing of `data.number_crisis_events`.
    ///
    /// # Errors
    ///
    /// When the database fails.
    pub async fn watch(&self, after: FeedPlace, deadline: Deadline) -> Result<Option<FeedPart>, DbError> {
        let mut tx = self
            .database
            .begin("WatchCrisisEvents", Context::Service, deadline)
            .await?;
        let last_number = sqlx::query_scalar!(
            r#"/* WatchCrisisEvents, number */ SELECT data.number_crisis_events($1) AS "last_number!""#,
            NUMBERED_AT_ONCE,
        )
        .fetch_one(&mut tx)
        .await?;
        // Only now, with the numbers that were given out just above.
        let mut is_ours = last_number >= after.number;
        if let Some(event) = after.event {
            let found = sqlx::query_scalar!(
                "/* WatchCrisisEvents, cursor */ SELECT id FROM data.crisis_events WHERE number = $1",
                after.number,
            )
            .fetch_optional(&mut tx)
            .await?;
            is_ours &= found.is_none_or(|found| found == event);
        }
        let mut events = Vec::new();
        if is_ours && last_number > after.number {
            let rows = sqlx::query!(
                r#"/* WatchCrisisEvents */
                SELECT user_id, id, message_id, trigger_type, severity_level, resources_shown, followup_required,
                    created_at, acknowledged_at, resolved_at, number AS "number!"
                FROM data.crisis_events
                WHERE number > $1 AND number <= $2
                ORDER BY number
                LIMIT $3"#,
                after.number,
                last_number,
                READ_AT_ONCE,
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
        Ok(is_ours.then_some(FeedPart { events, last_number }))
    }
}

// === impl FeedPart ===

impl FeedPart {
    /// The number after which the next part begins: past those whose events were erased, so that they are looked for
    /// once.
    #[must_use]
    pub fn end(&self) -> i64 {
        match self.events.last() {
            Some((number, _)) if self.events.len() as i64 >= READ_AT_ONCE => *number,
            _ => self.last_number,
        }
    }
}

/// An event as the table has it, but for its number, which people do not see.
pub(in crate::store) struct EventRow {
    pub(in crate::store) user_id: Uuid,
    pub(in crate::store) id: Uuid,
    pub(in crate::store) message_id: Option<Uuid>,
    pub(in crate::store) trigger_type: String,
    pub(in crate::store) severity_level: String,
    pub(in crate::store) resources_shown: Vec<String>,
    pub(in crate::store) followup_required: bool,
    pub(in crate::store) created_at: DateTime<Utc>,
    pub(in crate::store) acknowledged_at: Option<DateTime<Utc>>,
    pub(in crate::store) resolved_at: Option<DateTime<Utc>>,
}

impl TryFrom<EventRow> for CrisisEvent {
    type Error = DbError;

    fn try_from(row: EventRow) -> Result<Self, DbError> {
        let trigger = TriggerType::from_name(&row.trigger_type);
        let severity = SeverityLevel::from_name(&row.severity_level);
        let finding = trigger
            .zip(severity)
            .map(|(trigger, severity)| Finding { trigger, severity });
        Ok(Self {
            person: UserId::new(row.user_id),
            id: row.id,
            message_id: row.message_id,
            finding: finding.ok_or_else(|| DbError::unexpected("what was found in a message"))?,
            resources: row.resources_shown,
            followup_required: row.followup_required,
            created_at: row.created_at,
            acknowledged_at: row.acknowledged_at,
            resolved_at: row.resolved_at,
        })
    }
}
