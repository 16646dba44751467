//! The conversion of goals from and to their enum.

use haven_platform::{failure::Violation, violations::Violations};
use haven_proto::identity::v1 as proto;

use crate::domain::goals::{Goal, Goals};

/// The maximum number of goals in a request: more than there are goals. Duplicates are ignored, but not without limit.
const MAX_GOALS: usize = 64;

/// Parses the goals in the request's `field`. `None` when there are none or too many, which adds a violation. Every
/// unknown value adds a violation too.
pub(super) fn parse(field: &str, values: &[i32], violations: &mut Violations) -> Option<Goals> {
    if values.len() > MAX_GOALS {
        let description = format!("{field} must have at most {MAX_GOALS} goals");
        violations.add(Violation::new(field, "TOO_MANY", description));
        return None;
    }
    if values.is_empty() {
        violations.required(field);
        return None;
    }
    let mut goals = Vec::new();
    for (position, number) in values.iter().enumerate() {
        match proto::Goal::try_from(*number).ok().and_then(goal) {
            Some(goal) => goals.push(goal),
            None => violations.unknown_value(format!("{field}[{position}]")),
        }
    }
    Goals::new(goals)
}

/// Converts an enum value into the goal. `None` for the unspecified value.
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

/// Converts `goal` into its enum value.
pub(super) fn goal_value(goal: Goal) -> proto::Goal {
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
