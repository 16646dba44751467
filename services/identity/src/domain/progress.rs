//! A person's progress: three stages, one after the other, and then graduation. No step is ever taken back.

use chrono::{DateTime, Utc};

/// A stage, 1 to 3.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub struct Stage(u8);

/// A person's stage and graduation.
///
/// ```
/// use chrono::DateTime;
/// use haven_identity::domain::progress::{Progress, Stage, Step, StepError};
///
/// let beginner = Progress {
///     stage: Stage::FIRST,
///     graduated_at: None,
/// };
/// let now = DateTime::UNIX_EPOCH;
/// let second = Stage::FIRST.next().unwrap();
/// assert_eq!(beginner.after(Step::To(second), now).unwrap().stage, second);
/// assert_eq!(beginner.after(Step::Graduate, now), Err(StepError::NotAtLastStage));
/// ```
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Progress {
    /// The stage at which the person is.
    pub stage: Stage,
    /// The time of the graduation. `None` before it.
    pub graduated_at: Option<DateTime<Utc>>,
}

/// A step that a person can take.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Step {
    /// Moves on to a stage.
    To(Stage),
    /// Graduates, which is possible at the last stage.
    Graduate,
}

/// The error when a step cannot be taken.
#[derive(Clone, Copy, Debug, PartialEq, Eq, thiserror::Error)]
pub enum StepError {
    /// The stage is not the one after the current stage.
    #[error("the stage must be the one after the current stage")]
    StageNotNext,
    /// The person is not at the last stage.
    #[error("a person graduates at the last stage")]
    NotAtLastStage,
    /// The person has graduated already.
    #[error("the person has graduated already")]
    GraduatedAlready,
}

// === impl Stage ===

impl Stage {
    /// The stage of a new account.
    pub const FIRST: Self = Self(1);
    /// The stage at which people graduate.
    pub const LAST: Self = Self(3);

    /// The stage with this number. `None` when it is not 1 to 3.
    #[must_use]
    pub fn new(number: i32) -> Option<Self> {
        let stage = Self(u8::try_from(number).ok()?);
        (Self::FIRST..=Self::LAST).contains(&stage).then_some(stage)
    }

    /// The stage's number, 1 to 3.
    #[must_use]
    pub fn get(self) -> u8 {
        self.0
    }

    /// The stage after this one. `None` for the last one.
    #[must_use]
    pub fn next(self) -> Option<Self> {
        Self::new(i32::from(self.0) + 1)
    }
}

// === impl Progress ===

impl Progress {
    /// The progress after `step`, taken at the time `at`.
    ///
    /// # Errors
    ///
    /// When `step` is not the next one.
    pub fn after(self, step: Step, at: DateTime<Utc>) -> Result<Self, StepError> {
        match step {
            Step::To(stage) if self.stage.next() == Some(stage) => Ok(Self { stage, ..self }),
            Step::To(_) => Err(StepError::StageNotNext),
            Step::Graduate if self.graduated_at.is_some() => Err(StepError::GraduatedAlready),
            Step::Graduate if self.stage == Stage::LAST => Ok(Self {
                graduated_at: Some(at),
                ..self
            }),
            Step::Graduate => Err(StepError::NotAtLastStage),
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn stage(number: i32) -> Stage {
        Stage::new(number).unwrap()
    }

    fn at(number: i32) -> Progress {
        Progress {
            stage: stage(number),
            graduated_at: None,
        }
    }

    #[test]
    fn there_are_three_stages() {
        let stages: Vec<_> = (-1..=257).filter_map(Stage::new).map(Stage::get).collect();
        assert_eq!(stages, [1, 2, 3]);
        assert_eq!(Stage::new(i32::MAX), None);
        assert_eq!(
            [1, 2, 3].map(|number| stage(number).next()),
            [Stage::new(2), Stage::new(3), None]
        );
    }

    #[test]
    fn a_stage_is_reached_only_from_the_one_before_it() {
        let now = DateTime::UNIX_EPOCH;
        for from in 1..=3 {
            for to in 1..=3 {
                let expected = match to == from + 1 {
                    true => Ok(at(to)),
                    false => Err(StepError::StageNotNext),
                };
                assert_eq!(
                    at(from).after(Step::To(stage(to)), now),
                    expected,
                    "from {from} to {to}"
                );
            }
        }
    }

    #[test]
    fn people_graduate_once_from_the_last_stage() {
        let now = DateTime::UNIX_EPOCH;
        for early in [1, 2] {
            assert_eq!(
                at(early).after(Step::Graduate, now),
                Err(StepError::NotAtLastStage)
            );
        }
        let graduated = at(3).after(Step::Graduate, now).unwrap();
        assert_eq!(
            (graduated.stage, graduated.graduated_at),
            (Stage::LAST, Some(now))
        );
        assert_eq!(
            graduated.after(Step::Graduate, now),
            Err(StepError::GraduatedAlready)
        );
        for to in 1..=3 {
            assert_eq!(
                graduated.after(Step::To(stage(to)), now),
                Err(StepError::StageNotNext)
            );
        }
    }
}
