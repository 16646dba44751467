//! Crisis events: the SQL of CrisisService. The events are stored by AppendMessage and UpdateMessage, with their
//! messages.

mod acknowledge_crisis_event;
mod list_crisis_events;
mod resolve_crisis_event;
mod watch_crisis_events;

pub use self::watch_crisis_events::{FeedCursor, FeedPart};

use std::sync::Arc;

use chrono::{DateTime, Utc};
use haven_platform::{
    call::UserId,
    database::{Database, DbError},
};
use uuid::Uuid;

use crate::domain::crisis::{CrisisEvent, Finding, SeverityLevel, TriggerType};

/// The table of crisis events.
#[derive(Clone, Debug)]
pub struct CrisisEvents {
    database: Arc<Database>,
}

/// A row of `data.crisis_events`, without its number in the feed, which people do not see.
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

// === impl CrisisEvents ===

impl CrisisEvents {
    /// Returns the crisis events in `database`.
    #[must_use]
    pub fn new(database: Arc<Database>) -> Self {
        Self { database }
    }
}

// === impl EventRow ===

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
            finding: finding.ok_or_else(|| DbError::unexpected("the finding of a crisis event"))?,
            resources: row.resources_shown,
            followup_required: row.followup_required,
            created_at: row.created_at,
            acknowledged_at: row.acknowledged_at,
            resolved_at: row.resolved_at,
        })
    }
}
