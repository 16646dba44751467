//! Analyses: what workers find in ranges of messages, and the jobs that it comes of.

use chrono::{DateTime, Utc};
use haven_platform::call::UserId;
use uuid::Uuid;

use super::{
    analysis_details::AnalysisDetails,
    key_ring::KeyRing,
    message::MessageNumber,
    milestone::Milestone,
    sealing::{Cell, Field, OpenError, Sealed},
};

/// After how many messages of a person a job covers them. The schema knows it too: its counter goes up to one less.
pub const BATCH: i16 = 25;

/// How urgent a job is, the more the greater: somebody who asked waits for it.
pub const PRIORITY_REQUESTED: i16 = 1;
/// How urgent a job is that nobody asked for.
pub const PRIORITY_AUTOMATIC: i16 = 0;

/// A range of messages, both ends in it.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct MessageRange {
    /// The first message.
    pub first: MessageNumber,
    /// The last message.
    pub last: MessageNumber,
}

/// How far a job is.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum JobState {
    /// Waiting for a worker.
    Queued,
    /// A worker has it.
    Leased,
    /// Done.
    Done,
    /// Given up.
    Dead,
}

/// Messages that are to be analysed.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Job {
    /// Its id, unique among its person's jobs. The analysis that comes of it has the same.
    pub id: Uuid,
    /// The messages that it covers.
    pub range: MessageRange,
    /// How far it is.
    pub state: JobState,
    /// When it was made.
    pub created_at: DateTime<Utc>,
}

/// What an analysis was for.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum AnalysisType {
    /// How well the conversation goes.
    ChatScoring,
    /// Whether a milestone was reached.
    MilestoneCheck,
    /// Whether the person is ready to go on without a coach.
    GraduationAssessment,
    /// Whether somebody is in danger.
    CrisisReview,
}

/// A score in tenths: 0 to 140, for 0.0 to 14.0.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct ChatScore(i16);

/// An analysis as its person sees it.
#[derive(Debug)]
pub struct Analysis {
    /// As [`SealedAnalysis::id`].
    pub id: Uuid,
    /// As [`SealedAnalysis::analysis_type`].
    pub analysis_type: AnalysisType,
    /// As [`SealedAnalysis::chat_score`].
    pub chat_score: ChatScore,
    /// As [`SealedAnalysis::range`].
    pub range: MessageRange,
    /// What it says.
    pub details: AnalysisDetails,
    /// As [`SealedAnalysis::triggered_milestone`].
    pub triggered_milestone: Option<Milestone>,
    /// As [`SealedAnalysis::created_at`].
    pub created_at: DateTime<Utc>,
    /// As [`SealedAnalysis::version`].
    pub version: i64,
}

/// An analysis as it is stored: what it says is sealed.
#[derive(Debug)]
pub struct SealedAnalysis {
    /// Its job's id.
    pub id: Uuid,
    /// What it was for.
    pub analysis_type: AnalysisType,
    /// The score.
    pub chat_score: ChatScore,
    /// The messages that it covers.
    pub range: MessageRange,
    /// What it says, sealed.
    pub details: Sealed,
    /// A milestone that was reached.
    pub triggered_milestone: Option<Milestone>,
    /// When it was stored.
    pub created_at: DateTime<Utc>,
    /// 1, and one more with each change.
    pub version: i64,
}

/// Where the details of an analysis are kept: what their seal is bound to.
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
    /// When its details were not sealed for this person's analysis of this id, or under no key of the ring.
    pub fn open(self, keys: &KeyRing, owner: UserId) -> Result<Analysis, OpenError> {
        let details = AnalysisDetails::open(keys, owner, self.id, &self.details)?;
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

// === impl JobState ===

impl JobState {
    /// The name under which it is stored.
    pub fn as_str(self) -> &'static str {
        match self {
            Self::Queued => "queued",
            Self::Leased => "leased",
            Self::Done => "done",
            Self::Dead => "dead",
        }
    }

    /// The one that is stored under `name`, if there is one.
    pub fn from_name(name: &str) -> Option<Self> {
        [Self::Queued, Self::Leased, Self::Done, Self::Dead]
            .into_iter()
            .find(|state| state.as_str() == name)
    }
}

// === impl AnalysisType ===

impl AnalysisType {
    /// The name under which it is stored.
    pub fn as_str(self) -> &'static str {
        match self {
            Self::ChatScoring => "chat_scoring",
            Self::MilestoneCheck => "milestone_check",
            Self::GraduationAssessment => "graduation_assessment",
            Self::CrisisReview => "crisis_review",
        }
    }

    /// The one that is stored under `name`, if there is one.
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

    /// The score of so many tenths, if there is such a score.
    pub fn new(tenths: i16) -> Option<Self> {
        (0..=Self::MAX).contains(&tenths).then_some(Self(tenths))
    }

    /// The score in tenths.
    pub fn tenths(self) -> i16 {
        self.0
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_score_is_between_0_and_14() {
        assert_eq!(ChatScore::new(-1), None);
        assert_eq!(ChatScore::new(0).map(ChatScore::tenths), Some(0));
        assert_eq!(ChatScore::new(140).map(ChatScore::tenths), Some(140));
        assert_eq!(ChatScore::new(141), None);
    }

    #[test]
    fn names_are_found_again() {
        for name in ["queued", "leased", "done", "dead"] {
            assert_eq!(JobState::from_name(name).map(JobState::as_str), Some(name));
        }
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
