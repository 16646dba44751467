//! Conversion of crisis events to the response message.

use haven_platform::time::timestamp;
use haven_proto::data::v1::{self as proto, CrisisResource, CrisisSeverityLevel, CrisisTriggerType};

use crate::domain::crisis::{CrisisEvent, Resource, SeverityLevel, TriggerType};

/// Converts a crisis event to the response message.
pub(in crate::rpc) fn event_to_proto(event: &CrisisEvent) -> proto::CrisisEvent {
    proto::CrisisEvent {
        user_id: event.person.to_string(),
        id: event.id.to_string(),
        message_id: event.message_id.map(|id| id.to_string()).unwrap_or_default(),
        trigger_type: trigger_to_proto(event.finding.trigger).into(),
        severity_level: severity_to_proto(event.finding.severity).into(),
        resources: resources_to_proto(&event.resources),
        followup_required: event.followup_required,
        create_time: Some(timestamp(event.created_at)),
        acknowledge_time: event.acknowledged_at.map(timestamp),
        resolve_time: event.resolved_at.map(timestamp),
    }
}

/// Converts a trigger to the enum value.
pub(in crate::rpc) fn trigger_to_proto(trigger: TriggerType) -> CrisisTriggerType {
    match trigger {
        TriggerType::Suicide => CrisisTriggerType::Suicide,
        TriggerType::SelfHarm => CrisisTriggerType::SelfHarm,
        TriggerType::Abuse => CrisisTriggerType::Abuse,
        TriggerType::Violence => CrisisTriggerType::Violence,
    }
}

/// Converts a severity to the enum value.
pub(in crate::rpc) fn severity_to_proto(severity: SeverityLevel) -> CrisisSeverityLevel {
    match severity {
        SeverityLevel::Low => CrisisSeverityLevel::Low,
        SeverityLevel::Moderate => CrisisSeverityLevel::Moderate,
        SeverityLevel::High => CrisisSeverityLevel::High,
        SeverityLevel::Critical => CrisisSeverityLevel::Critical,
    }
}

/// Converts the ids of resources to the resources. A resource that was removed from the list is omitted, because its
/// contact may no longer be valid.
pub(in crate::rpc) fn resources_to_proto(ids: &[String]) -> Vec<CrisisResource> {
    let resources = ids.iter().filter_map(|id| Resource::from_id(id));
    resources
        .map(|resource| CrisisResource {
            id: resource.id.to_owned(),
            name: resource.name.to_owned(),
            contact: resource.contact.to_owned(),
        })
        .collect()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn each_value_has_the_enum_value_of_its_name() {
        for (trigger, name) in [
            (TriggerType::Suicide, "SUICIDE"),
            (TriggerType::SelfHarm, "SELF_HARM"),
            (TriggerType::Abuse, "ABUSE"),
            (TriggerType::Violence, "VIOLENCE"),
        ] {
            let expected = format!("CRISIS_TRIGGER_TYPE_{name}");
            assert_eq!(trigger_to_proto(trigger).as_str_name(), expected);
        }
        for (severity, name) in [
            (SeverityLevel::Low, "LOW"),
            (SeverityLevel::Moderate, "MODERATE"),
            (SeverityLevel::High, "HIGH"),
            (SeverityLevel::Critical, "CRITICAL"),
        ] {
            let expected = format!("CRISIS_SEVERITY_LEVEL_{name}");
            assert_eq!(severity_to_proto(severity).as_str_name(), expected);
        }
    }
}
