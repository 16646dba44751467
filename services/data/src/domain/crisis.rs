//! Crisis events: messages that indicate that a person may be in danger.

use chrono::{DateTime, Utc};
use haven_platform::call::UserId;
use uuid::Uuid;

/// Searches a text for signs that its author may be in danger.
///
/// A detector may be slow, and it may be wrong: its caller neither waits long for it nor lets its failure fail a
/// message. A detector must not store, log or send the text.
///
/// `detect` must return. A few texts are searched at the same time, each on a thread, and a thread cannot be stopped
/// from outside. A call that never returns keeps its thread forever, and when all threads are taken, no message is
/// searched until the service is restarted. The metric `haven_crisis_detections_running` shows how many are taken.
pub trait CrisisDetector: Send + Sync + 'static {
    /// Returns the most severe finding in `text`; `None` when there is none.
    fn detect(&self, text: &str) -> Option<Finding>;
}

/// A finding of a crisis detector.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Finding {
    /// The kind of danger that the text indicates.
    pub trigger: TriggerType,
    /// The estimated severity of the danger.
    pub severity: SeverityLevel,
}

/// A finding in a message, and the crisis event that it creates.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct MessageFinding {
    /// The id of the crisis event, unique among its person's events.
    pub event_id: Uuid,
    /// The finding of the detector in the message.
    pub finding: Finding,
    /// The ids of the resources that the person is shown.
    pub resources: Vec<String>,
}

/// A kind of danger.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum TriggerType {
    /// The person may attempt suicide.
    Suicide,
    /// The person may hurt themselves.
    SelfHarm,
    /// Another person may hurt the person.
    Abuse,
    /// The person may hurt another person.
    Violence,
}

/// An estimated severity, in ascending order.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub enum SeverityLevel {
    /// A sign that needs no action, only attention.
    Low,
    /// A sign to address later in the conversation.
    Moderate,
    /// The event needs a follow-up.
    High,
    /// The event needs an immediate follow-up.
    Critical,
}

/// A place to get help.
#[derive(Debug, PartialEq, Eq)]
pub struct Resource {
    /// The stable id, under which the resource is stored.
    pub id: &'static str,
    /// The name that is displayed to people.
    pub name: &'static str,
    /// The phone number or web address, and the countries that it serves.
    pub contact: &'static str,
}

/// A crisis event as it is stored.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct CrisisEvent {
    /// The person that the message belongs to.
    pub person: UserId,
    /// The event's id, unique among its person's events.
    pub id: Uuid,
    /// The message's id. `None` when the message was deleted.
    pub message_id: Option<Uuid>,
    /// The finding of the detector in the message.
    pub finding: Finding,
    /// The ids of the resources that the person was shown.
    pub resources: Vec<String>,
    /// True when the event needs a follow-up.
    pub followup_required: bool,
    /// The time at which the message was stored, or changed to the text with the finding.
    pub created_at: DateTime<Utc>,
    /// The time at which the person acknowledged the event.
    pub acknowledged_at: Option<DateTime<Utc>>,
    /// The time at which a service marked the event as followed up.
    pub resolved_at: Option<DateTime<Utc>>,
}

// === impl Finding ===

impl Finding {
    /// Returns whether an event with this finding needs a follow-up: from HIGH on.
    pub fn followup_required(self) -> bool {
        self.severity >= SeverityLevel::High
    }
}

// === impl MessageFinding ===

impl MessageFinding {
    /// Creates the event `event_id` for `finding`, with the resources for its trigger.
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

// === impl TriggerType ===

impl TriggerType {
    const ALL: [Self; 4] = [Self::Suicide, Self::SelfHarm, Self::Abuse, Self::Violence];

    /// The name under which the trigger is stored.
    pub fn as_str(self) -> &'static str {
        match self {
            Self::Suicide => "suicide",
            Self::SelfHarm => "self_harm",
            Self::Abuse => "abuse",
            Self::Violence => "violence",
        }
    }

    /// Returns the trigger that is stored under `name`; `None` when no trigger has this name.
    pub fn from_name(name: &str) -> Option<Self> {
        Self::ALL.into_iter().find(|trigger| trigger.as_str() == name)
    }

    /// Returns the resources to show to a person in this danger.
    pub fn resources(self) -> &'static [Resource] {
        match self {
            Self::Suicide | Self::SelfHarm | Self::Violence => &RESOURCES[..4],
            Self::Abuse => &RESOURCES[2..],
        }
    }
}

// === impl SeverityLevel ===

impl SeverityLevel {
    const ALL: [Self; 4] = [Self::Low, Self::Moderate, Self::High, Self::Critical];

    /// The name under which the severity is stored.
    pub fn as_str(self) -> &'static str {
        match self {
            Self::Low => "low",
            Self::Moderate => "moderate",
            Self::High => "high",
            Self::Critical => "critical",
        }
    }

    /// Returns the severity that is stored under `name`; `None` when no severity has this name.
    pub fn from_name(name: &str) -> Option<Self> {
        Self::ALL.into_iter().find(|severity| severity.as_str() == name)
    }
}

// === impl Resource ===

impl Resource {
    /// Returns the resource that is stored under `id`; `None` when it was removed from the list.
    pub fn from_id(id: &str) -> Option<&'static Self> {
        RESOURCES.iter().find(|resource| resource.id == id)
    }
}

/// The resources, as of November 2026. A resource that is removed is no longer shown, even for events that name it.
static RESOURCES: [Resource; 5] = [
    Resource {
        id: "988_lifeline",
        name: "988 Suicide & Crisis Lifeline",
        contact: "Call or text 988 (United States and Canada)",
    },
    Resource {
        id: "samaritans",
        name: "Samaritans",
        contact: "Call 116 123 (United Kingdom and Ireland)",
    },
    Resource {
        id: "find_a_helpline",
        name: "Find A Helpline",
        contact: "https://findahelpline.com (helplines of more than 130 countries)",
    },
    Resource {
        id: "emergency_services",
        name: "Emergency services",
        contact: "Call 112 (Europe and many other countries), 911 (United States and Canada) or your local number",
    },
    Resource {
        id: "ndv_hotline",
        name: "National Domestic Violence Hotline",
        contact: "Call 1-800-799-7233 (United States)",
    },
];
