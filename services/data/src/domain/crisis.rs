//! Crisis events: messages in which somebody may be in danger.

use chrono::{DateTime, Utc};
use haven_platform::call::UserId;
use uuid::Uuid;

/// Looks at what somebody wrote for signs that they may be in danger.
///
/// It may be slow, and it may be wrong: whoever calls it neither waits for it for long nor lets it fail a message. What
/// it is given must not be kept, logged or sent anywhere.
///
/// It has to return: a few texts are looked at at once, and nobody can end a thread. One that never returns takes one of
/// these turns for ever, and when all are taken, nothing is found in any message until the service is started again.
/// The metric `haven_crisis_detections_running` shows how many are taken.
pub trait CrisisDetector: Send + Sync + 'static {
    /// What is found in `text`: the most severe thing, if there is one.
    fn detect(&self, text: &str) -> Option<Finding>;
}

/// What was found in a message.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Finding {
    /// What somebody may be in danger of.
    pub trigger: TriggerType,
    /// How severe it seems.
    pub severity: SeverityLevel,
}

/// What somebody may be in danger of.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum TriggerType {
    /// Taking their life.
    Suicide,
    /// Hurting themselves.
    SelfHarm,
    /// Being hurt by somebody else.
    Abuse,
    /// Hurting somebody else.
    Violence,
}

/// How severe it seems, from the least on.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub enum SeverityLevel {
    /// Something to keep in mind.
    Low,
    /// Something to come back to.
    Moderate,
    /// Somebody should follow it up.
    High,
    /// Somebody should follow it up now.
    Critical,
}

/// Where help is to be had.
#[derive(Debug, PartialEq, Eq)]
pub struct Resource {
    /// Its stable name, under which it is stored.
    pub id: &'static str,
    /// What it is called.
    pub name: &'static str,
    /// How to reach it, and where it answers.
    pub contact: &'static str,
}

/// An event as it is stored.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct CrisisEvent {
    /// Whose message it is.
    pub person: UserId,
    /// Its id, unique among its person's events.
    pub id: Uuid,
    /// The message. None: it was deleted.
    pub message_id: Option<Uuid>,
    /// What was found.
    pub finding: Finding,
    /// The ids of what the person was shown.
    pub resources: Vec<String>,
    /// Whether somebody should follow it up.
    pub followup_required: bool,
    /// When the message was stored, or changed to say this.
    pub created_at: DateTime<Utc>,
    /// When the person noted that they have seen it.
    pub acknowledged_at: Option<DateTime<Utc>>,
    /// When somebody noted that it was followed up.
    pub resolved_at: Option<DateTime<Utc>>,
}

// === impl Finding ===

impl Finding {
    /// Whether somebody should follow it up.
    pub fn followup_required(self) -> bool {
        self.severity >= SeverityLevel::High
    }
}

// === impl TriggerType ===

impl TriggerType {
    const ALL: [Self; 4] = [Self::Suicide, Self::SelfHarm, Self::Abuse, Self::Violence];

    /// The name under which it is stored.
    pub fn as_str(self) -> &'static str {
        match self {
            Self::Suicide => "suicide",
            Self::SelfHarm => "self_harm",
            Self::Abuse => "abuse",
            Self::Violence => "violence",
        }
    }

    /// The one that is stored under `name`, if there is one.
    pub fn from_name(name: &str) -> Option<Self> {
        Self::ALL.into_iter().find(|trigger| trigger.as_str() == name)
    }

    /// What is shown to somebody in this danger.
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

    /// The name under which it is stored.
    pub fn as_str(self) -> &'static str {
        match self {
            Self::Low => "low",
            Self::Moderate => "moderate",
            Self::High => "high",
            Self::Critical => "critical",
        }
    }

    /// The one that is stored under `name`, if there is one.
    pub fn from_name(name: &str) -> Option<Self> {
        Self::ALL.into_iter().find(|severity| severity.as_str() == name)
    }
}

// === impl Resource ===

impl Resource {
    /// The resource that is stored under `id`, if it is still known.
    pub fn from_id(id: &str) -> Option<&'static Self> {
        RESOURCES.iter().find(|resource| resource.id == id)
    }
}

/// As they were in November 2026. One that is left out later is no longer shown, even for events that name it.
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
