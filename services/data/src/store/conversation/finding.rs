//! Findings in messages, as rows of JSON.

use haven_platform::database::DbError;
use serde::{Deserialize, Serialize};
use sqlx::types::Json;
use uuid::Uuid;

use crate::domain::crisis::{Finding, MessageFinding, SeverityLevel, TriggerType};

/// A finding in JSON. The statement writes the same value into the crisis event and into the stored answer, so that a
/// retry gets the finding that was stored.
#[derive(Debug, Deserialize, Serialize)]
pub(super) struct FindingRow {
    event_id: Uuid,
    trigger_type: String,
    severity_level: String,
    resources: Vec<String>,
    followup_required: bool,
}

impl FindingRow {
    /// Converts a finding to a statement's parameter.
    pub(super) fn from_finding(found: Option<&MessageFinding>) -> Option<Json<Self>> {
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
    fn a_stored_finding_is_read_as_it_was_written() {
        let finding = Finding {
            trigger: TriggerType::Abuse,
            severity: SeverityLevel::High,
        };
        let found = MessageFinding::new(Uuid::from_u128(1), finding);
        assert!(!found.resources.is_empty());
        assert!(FindingRow::from_finding(None).is_none());
        let row = FindingRow::from_finding(Some(&found)).unwrap().0;
        assert!(row.followup_required);
        let kept = serde_json::to_string(&row).unwrap();
        let row: FindingRow = serde_json::from_str(&kept).unwrap();
        assert_eq!(MessageFinding::try_from(row).unwrap(), found);
    }
}
