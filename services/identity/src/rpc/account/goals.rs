//! Violations that more than one request has, parsed into domain types; and back, where an answer needs it.

use haven_platform::{failure::Violation, violations::Violations};
use haven_proto::identity::v1 as proto;

use crate::domain::{
    consent::{Consent, MAX_CONSENTS},
    email::EmailAddress,
    goals::{Goal, Goals},
};

/// What cannot be: a field that has no value, and of which nothing was said to be wrong.

/// More than there are goals: duplicates are ignored, but not without end.
const MAX_GOALS: usize = 64;

/// The email address in `entered`, wherever one is sent.
pub(in crate::rpc) fn email(entered: &str, violations: &mut Violations) -> Option<EmailAddress> {
    EmailAddress::parse(entered)
        .map_err(|broken| {
            let violation = broken
                .into_iter()
                .map(|one| Violation::new("email", one.name(), one.description()));
            violations.extend(violation);
        })
        .ok()
}

/// The goals in `sent`, which is the request's `field`.
pub(in crate::rpc) fn goals(field: &str, sent: &[i32], violations: &mut Violations) -> Option<Goals> {
    if sent.len() > MAX_GOALS {
        violations.add(Violation::new(field, "TOO_MANY", "There are not so many goals"));
        return None;
    }
    if sent.is_empty() {
        violations.add(Violation::new(field, "REQUIRED", "At least one goal is required"));
        return None;
    }
    let mut goals = Vec::new();
    for (position, number) in sent.iter().enumerate() {
        match proto::Goal::try_from(*number).ok().and_then(goal) {
            Some(goal) => goals.push(goal),
            None => {
                violations.add(Violation::new(
                    format!("{field}[{position}]"),
                    "UNKNOWN_VALUE",
                    "This has to be one of the enum's values",
                ));
            }
        }
    }
    Goals::new(goals)
}

fn goal(goal: proto::Goal) -> Option<Goal> {
    match goal {
        proto::Goal::Unspecified => None,
        proto::Goal::BuildConfidence => Some(Goal::BuildConfidence),
        proto::Goal::MakeFriends => Some(Goal::MakeFriends),
        proto::Goal::ImproveConversations => Some(Goal::ImproveConversations),
        proto::Goal::OvercomeAnxiety => Some(Goal::OvercomeAnxiety),
        proto::Goal::JoinActivities => Some(Goal::JoinActivities),
        proto::Goal::DatingSkills => Some(Goal::DatingSkills),
        proto::Goal::RoommateRelations => Some(Goal::RoommateRelations),
    }
}

/// The consents in `sent`. What was sent more than once is taken once; a document in two versions is taken in neither.
pub(in crate::rpc) fn consents(sent: &[proto::ConsentGrant], violations: &mut Violations) -> Vec<Consent> {
    let mut consents: Vec<Consent> = Vec::new();
    if sent.len() > MAX_CONSENTS {
        violations.add(Violation::new(
            "consents",
            "TOO_MANY",
            "There are at most 20 consents",
        ));
        return consents;
    }
    for (position, grant) in sent.iter().enumerate() {
        match Consent::parse(&grant.document, &grant.document_version) {
            Ok(consent) if consents.contains(&consent) => {}
            Ok(consent)
                if consents
                    .iter()
                    .any(|other| other.document() == consent.document()) =>
            {
                let field = format!("consents[{position}].document");
                violations.add(Violation::new(
                    field,
                    "DUPLICATE",
                    "A document can be agreed to in one version only",
                ));
            }
            Ok(consent) => consents.push(consent),
            Err(broken) => violations.extend(broken.into_iter().map(|one| {
                Violation::new(
                    format!("consents[{position}].{}", one.field()),
                    one.name(),
                    one.description(),
                )
            })),
        }
    }
    consents
}

/// What the API calls `goal`.
pub(in crate::rpc) fn goal_value(goal: Goal) -> proto::Goal {
    match goal {
        Goal::BuildConfidence => proto::Goal::BuildConfidence,
        Goal::MakeFriends => proto::Goal::MakeFriends,
        Goal::ImproveConversations => proto::Goal::ImproveConversations,
        Goal::OvercomeAnxiety => proto::Goal::OvercomeAnxiety,
        Goal::JoinActivities => proto::Goal::JoinActivities,
        Goal::DatingSkills => proto::Goal::DatingSkills,
        Goal::RoommateRelations => proto::Goal::RoommateRelations,
    }
}
