//! The goals that a person works on.

/// A goal. The variants are in the order in which clients show them.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub enum Goal {
    /// Building confidence in oneself.
    BuildConfidence,
    /// Finding and making friends.
    MakeFriends,
    /// Talking more easily with others.
    ImproveConversations,
    /// Overcoming anxiety among people.
    OvercomeAnxiety,
    /// Taking part in activities.
    JoinActivities,
    /// Learning how to date.
    DatingSkills,
    /// Living well with the people of a shared home.
    RoommateRelations,
}

/// A set of at least one goal.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Goals(Vec<Goal>);

impl Goal {
    /// All goals, in order.
    pub const ALL: [Self; 7] = [
        Self::BuildConfidence,
        Self::MakeFriends,
        Self::ImproveConversations,
        Self::OvercomeAnxiety,
        Self::JoinActivities,
        Self::DatingSkills,
        Self::RoommateRelations,
    ];

    /// The name under which the goal is stored.
    #[must_use]
    pub fn name(self) -> &'static str {
        match self {
            Self::BuildConfidence => "build_confidence",
            Self::MakeFriends => "make_friends",
            Self::ImproveConversations => "improve_conversations",
            Self::OvercomeAnxiety => "overcome_anxiety",
            Self::JoinActivities => "join_activities",
            Self::DatingSkills => "dating_skills",
            Self::RoommateRelations => "roommate_relations",
        }
    }

    /// The goal that is stored under `name`.
    #[must_use]
    pub fn from_name(name: &str) -> Option<Self> {
        Self::ALL.into_iter().find(|goal| goal.name() == name)
    }
}

impl Goals {
    /// The set of `goals`, sorted and without duplicates. `None` when `goals` is empty.
    #[must_use]
    pub fn new(mut goals: Vec<Goal>) -> Option<Self> {
        goals.sort_unstable();
        goals.dedup();
        (!goals.is_empty()).then_some(Self(goals))
    }

    /// The goals, in order.
    pub fn iter(&self) -> impl Iterator<Item = Goal> + '_ {
        self.0.iter().copied()
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn goals_are_sorted_and_without_duplicates() {
        let goals = Goals::new(vec![Goal::DatingSkills, Goal::MakeFriends, Goal::DatingSkills]).unwrap();
        assert_eq!(
            goals.iter().collect::<Vec<_>>(),
            [Goal::MakeFriends, Goal::DatingSkills]
        );
        assert_eq!(Goals::new(Vec::new()), None);
    }

    #[test]
    fn every_goal_is_found_by_its_name() {
        assert!(Goal::ALL.is_sorted(), "in the order in which goals are shown");
        for goal in Goal::ALL {
            assert_eq!(Goal::from_name(goal.name()), Some(goal));
        }
        assert_eq!(Goal::from_name("Dating_Skills"), None);
    }
}
