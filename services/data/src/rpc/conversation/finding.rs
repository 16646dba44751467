//! Findings of the crisis detector in a person's message.

use haven_proto::data::v1::CrisisFinding;

use super::ConversationRpc;
use crate::{
    domain::{crisis::MessageFinding, message::MessageText},
    rpc::crisis::event::{resources_to_proto, severity_to_proto, trigger_to_proto},
};

impl ConversationRpc {
    /// Searches a person's text for signs of a crisis. A finding gets the id of its future event.
    pub(super) async fn detect(&self, text: &MessageText) -> Option<MessageFinding> {
        let finding = self.detection.detect(text).await?;
        Some(MessageFinding::new(self.entropy.uuid_v7(&self.clock), finding))
    }
}

/// Converts a finding to the response message. Resources that were removed from the list are omitted.
pub(super) fn finding_to_proto(found: &MessageFinding) -> CrisisFinding {
    CrisisFinding {
        event_id: found.event_id.to_string(),
        trigger_type: trigger_to_proto(found.finding.trigger).into(),
        severity_level: severity_to_proto(found.finding.severity).into(),
        resources: resources_to_proto(&found.resources),
    }
}

#[cfg(test)]
mod tests {
    use haven_proto::data::v1::{CrisisSeverityLevel, CrisisTriggerType};
    use uuid::Uuid;

    use super::*;
    use crate::domain::crisis::{Finding, SeverityLevel, TriggerType};

    #[test]
    fn a_removed_resource_is_omitted() {
        let critical = Finding {
            trigger: TriggerType::Suicide,
            severity: SeverityLevel::Critical,
        };
        let mut found = MessageFinding::new(Uuid::from_u128(1), critical);
        let shown = finding_to_proto(&found);
        assert_eq!(shown.trigger_type(), CrisisTriggerType::Suicide);
        assert_eq!(shown.severity_level(), CrisisSeverityLevel::Critical);
        assert!(!shown.resources.is_empty());
        found.resources.insert(0, "a_line_that_was_closed".to_owned());
        assert_eq!(finding_to_proto(&found), shown);
    }
}
