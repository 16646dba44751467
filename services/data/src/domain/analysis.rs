//! Analyses: the results of analysis jobs.

use chrono::{DateTime, Utc};
use haven_platform::call::UserId;
use uuid::Uuid;

use super::{
    analysis_details::AnalysisDetails,
    key_ring::KeyRing,
    message::MessageRange,
    milestone::Milestone,
    sealing::{Cell, Field, OpenError, Sealed},
};

/// The purpose of an analysis.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum AnalysisType {
    /// Scores the quality of the conversation.
    ChatScoring,
    /// Checks whether the person has reached a milestone.
    MilestoneCheck,
    /// Assesses whether the person is ready to go on without a coach.
    GraduationAssessment,
    /// Reviews whether a person is in danger.
    CrisisReview,
}

/// A score in tenths: 0 to 140, for 0.0 to 14.0.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct ChatScore(i16);

/// An analysis, opened for its person.
#[derive(Debug)]
pub struct Analysis {
    /// The id of the job that produced the analysis.
    pub id: Uuid,
    /// The purpose of the analysis.
    pub analysis_type: AnalysisType,
    /// The score of the conversation, in tenths.
    pub chat_score: ChatScore,
    /// The messages that the analysis covers.
    pub range: MessageRange,
    /// The details in words, opened.
    pub details: AnalysisDetails,
    /// The milestone that was reached, if any.
    pub triggered_milestone: Option<Milestone>,
    /// The time at which the analysis was stored.
    pub created_at: DateTime<Utc>,
    /// The version: 1, and one more with each change.
    pub version: i64,
}

/// An analysis as it is stored: the details are sealed.
#[derive(Debug)]
pub struct SealedAnalysis {
    /// The id of the job that produced the analysis.
    pub id: Uuid,
    /// The purpose of the analysis.
    pub analysis_type: AnalysisType,
    /// The score of the conversation, in tenths.
    pub chat_score: ChatScore,
    /// The messages that the analysis covers.
    pub range: MessageRange,
    /// The details, sealed for the [`cell`] of the analysis.
    pub details: Sealed,
    /// The milestone that was reached, if any.
    pub triggered_milestone: Option<Milestone>,
    /// The time at which the analysis was stored.
    pub created_at: DateTime<Utc>,
    /// The version: 1, and one more with each change.
    pub version: i64,
}

/// An analysis to store (CompleteJob, CompleteJobs).
#[derive(Debug)]
pub struct NewAnalysis {
    /// The purpose of the analysis.
    pub analysis_type: AnalysisType,
    /// The score of the conversation, in tenths.
    pub chat_score: ChatScore,
    /// The details, sealed for the [`cell`] of the analysis.
    pub details: Sealed,
    /// The milestone that was reached, if any.
    pub triggered_milestone: Option<Milestone>,
}

/// Returns the cell of an analysis's details, which their seal is bound to.
pub fn cell(owner: UserId, id: Uuid) -> Cell {
    Cell {
        owner,
        row: id,
        field: Field::AnalysisDetails,
    }
}

// === impl SealedAnalysis ===

impl SealedAnalysis {
    /// Opens the analysis of `owner`.
    ///
    /// # Errors
    ///
    /// When the details were sealed for another person or analysis, or under a key that is not in the ring.
    pub fn open(self, keys: &KeyRing, owner: UserId) -> Result<Analysis, OpenError> {
        let details = AnalysisDetails::open(keys, cell(owner, self.id), &self.details)?;
        Ok(Analysis {
            id: self.id,
            analysis_type: self.analysis_type,
            chat_score: self.chat_score,
            range: self.range,
            details,
            triggered_milestone: self.triggered_milestone,
            created_at: self.created_at,
            version: self.version,
        })
    }
}

// === impl AnalysisType ===

impl AnalysisType {
    /// The name under which the type is stored.
    pub fn as_str(self) -> &'static str {
        match self {
            Self::ChatScoring => "chat_scoring",
            Self::MilestoneCheck => "milestone_check",
            Self::GraduationAssessment => "graduation_assessment",
            Self::CrisisReview => "crisis_review",
        }
    }

    /// Returns the type that is stored under `name`; `None` when no type has this name.
    pub fn from_name(name: &str) -> Option<Self> {
        [
            Self::ChatScoring,
            Self::MilestoneCheck,
            Self::GraduationAssessment,
            Self::CrisisReview,
        ]
        .into_iter()
        .find(|kind| kind.as_str() == name)
    }
}

// === impl ChatScore ===

impl ChatScore {
    /// The greatest score, in tenths.
    pub const MAX: i16 = 140;

    /// Returns the score of `tenths` tenths; `None` when that is not 0 to [`ChatScore::MAX`].
    pub fn new(tenths: i16) -> Option<Self> {
        (0..=Self::MAX).contains(&tenths).then_some(Self(tenths))
    }

    /// Returns the score in tenths.
    pub fn tenths(self) -> i16 {
        self.0
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_score_is_0_to_14() {
        assert_eq!(ChatScore::new(-1), None);
        assert_eq!(ChatScore::new(0).map(ChatScore::tenths), Some(0));
        assert_eq!(ChatScore::new(140).map(ChatScore::tenths), Some(140));
        assert_eq!(ChatScore::new(141), None);
    }

    #[test]
    fn an_analysis_type_is_parsed_from_its_stored_name() {
        for name in [
            "chat_scoring",
            "milestone_check",
            "graduation_assessment",
            "crisis_review",
        ] {
            assert_eq!(
                AnalysisType::from_name(name).map(AnalysisType::as_str),
                Some(name)
            );
        }
        assert_eq!(AnalysisType::from_name("x"), None);
    }
}
