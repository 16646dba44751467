//! What was found of a crisis in a message, as its person is told.

use haven_proto::data::v1::CrisisFinding;

use super::super::{
    DataRpc,
    crisis::{resources, severity_level, trigger_type},
};
use crate::{domain::message::MessageText, store::conversation::finding::MessageFinding};

impl DataRpc {
    /// Looks at what a person says. What is found gets the id that its event is to have.
    pub(in crate::rpc) async fn finding_in(&self, text: &MessageText) -> Option<MessageFinding> {
        let found = self.detection.look_at(text).await?;
        Some(MessageFinding::new(self.entropy.uuid_v7(&self.clock), found))
    }
}

/// What was found, as it is sent. A resource that is no longer known is left out: nobody is to call a number that is gone.
pub(in crate::rpc) fn finding(found: &MessageFinding) -> CrisisFinding {
    CrisisFinding {
        event_id: found.event_id.to_string(),
        trigger_type: trigger_type(found.finding.trigger).into(),
        severity_level: severity_level(found.finding.severity).into(),
        resources: resources(&found.resources),
    }
}

#[cfg(test)]
mod tests {
    use haven_proto::data::v1::{CrisisSeverityLevel, CrisisTriggerType};
    use uuid::Uuid;

    use super::*;
    use crate::domain::crisis::{Finding, SeverityLevel, TriggerType};

    #[test]
    fn a_resource_that_is_no_longer_known_is_left_out() {
        let critical = Finding {
            trigger: TriggerType::Suicide,
            severity: SeverityLevel::Critical,
        };
        let mut found = MessageFinding::new(Uuid::from_u128(1), critical);
        let shown = finding(&found);
        assert_eq!(shown.trigger_type(), CrisisTriggerType::Suicide);
        assert_eq!(shown.severity_level(), CrisisSeverityLevel::Critical);
        assert!(!shown.resources.is_empty());
        found.resources.insert(0, "a_line_that_was_closed".to_owned());
        assert_eq!(finding(&found), shown);
    }
}
