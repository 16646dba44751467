//! What a person wants to work on.

/// One goal. The order is the order in which goals are shown.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub enum Goal {
    /// To feel surer of themselves.
    BuildConfidence,
    /// To find friends.
    MakeFriends,
    /// To talk more easily with others.
    ImproveConversations,
    /// To be less afraid among people.
    OvercomeAnxiety,
    /// To take part in things.
    JoinActivities,
    /// To date.
    DatingSkills,
    /// To live well with others under one roof.
    RoommateRelations,
}

/// A set of goals, with at least one in it.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Goals(Vec<Goal>);

impl Goal {
    /// Every goal.
    pub const ALL: [Self; 7] = [
        Self::BuildConfidence,
        Self::MakeFriends,
        Self::ImproveConversations,
        Self::OvercomeAnxiety,
        Self::JoinActivities,
        Self::DatingSkills,
        Self::RoommateRelations,
    ];

    /// The name that it is stored under.
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

    /// What is stored under that name.
    #[must_use]
    pub fn from_name(name: &str) -> Option<Self> {
        Self::ALL.into_iter().find(|goal| goal.name() == name)
    }
}

impl Goals {
    /// The set of `goals`: sorted, without duplicates. None when there is none.
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
    fn goals_are_a_set_in_order() {
        let goals = Goals::new(vec![Goal::DatingSkills, Goal::MakeFriends, Goal::DatingSkills]).unwrap();
        assert_eq!(
            goals.iter().collect::<Vec<_>>(),
            [Goal::MakeFriends, Goal::DatingSkills]
        );
        assert_eq!(Goals::new(Vec::new()), None);
    }

    #[test]
    fn every_goal_is_known_by_its_name() {
        assert!(Goal::ALL.is_sorted(), "in the order in which goals are shown");
        for goal in Goal::ALL {
            assert_eq!(Goal::from_name(goal.name()), Some(goal));
        }
        assert_eq!(Goal::from_name("Dating_Skills"), None);
    }
}
