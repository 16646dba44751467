//! What was found of a crisis in a message, as it is stored with the message, and kept for whoever asks again.

use haven_platform::database::DbError;
use serde::{Deserialize, Serialize};
use sqlx::types::Json;
use uuid::Uuid;

use crate::domain::crisis::{Finding, SeverityLevel, TriggerType};

/// What was found in a message, and the event that it makes.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct MessageFinding {
    /// The event's id.
    pub event_id: Uuid,
    /// What was found.
    pub finding: Finding,
    /// The ids of what the person is shown.
    pub resources: Vec<String>,
}

/// The same in an answer and on its way into the table of events: the one as the other, so that a retry cannot be
/// answered anything else.
#[derive(Debug, Deserialize, Serialize)]
pub(in crate::store) struct FindingRow {
    event_id: Uuid,
    trigger_type: String,
    severity_level: String,
    resources: Vec<String>,
    followup_required: bool,
}

impl MessageFinding {
    /// The event `event_id` for `finding`.
    #[must_use]
    pub fn new(event_id: Uuid, finding: Finding) -> Self {
        let resources = finding.trigger.resources().iter();
        Self {
            event_id,
            finding,
            resources: resources.map(|resource| resource.id.to_owned()).collect(),
        }
    }
}

impl FindingRow {
    /// What was found, if anything was, as a statement takes it.
    pub(in crate::store) fn of(found: Option<&MessageFinding>) -> Option<Json<Self>> {
        found.map(|found| {
            Json(Self {
                event_id: found.event_id,
                trigger_type: found.finding.trigger.as_str().to_owned(),
                severity_level: found.finding.severity.as_str().to_owned(),
                resources: found.resources.clone(),
                followup_required: found.finding.followup_required(),
            })
        })
    }
}

impl TryFrom<FindingRow> for MessageFinding {
    type Error = DbError;

    fn try_from(row: FindingRow) -> Result<Self, DbError> {
        let trigger = TriggerType::from_name(&row.trigger_type);
        let severity = SeverityLevel::from_name(&row.severity_level);
        let (trigger, severity) = trigger
            .zip(severity)
            .ok_or_else(|| DbError::unexpected("the finding of a message"))?;
        Ok(Self {
            event_id: row.event_id,
            finding: Finding { trigger, severity },
            resources: row.resources,
        })
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn what_is_answered_again_is_what_was_found() {
        let finding = Finding {
            trigger: TriggerType::Abuse,
            severity: SeverityLevel::High,
        };
        let found = MessageFinding::new(Uuid::from_u128(1), finding);
        assert!(!found.resources.is_empty());
        assert!(FindingRow::of(None).is_none());
        let row = FindingRow::of(Some(&found)).unwrap().0;
        assert!(row.followup_required);
        let kept = serde_json::to_string(&row).unwrap();
        let row: FindingRow = serde_json::from_str(&kept).unwrap();
        assert_eq!(MessageFinding::try_from(row).unwrap(), found);
    }
}
