//! How far a person has come: through three stages, one after the other, and then they graduate. Nobody goes back.

use chrono::{DateTime, Utc};

/// One of the three stages.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub struct Stage(u8);

/// How far somebody has come.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Progress {
    /// The stage that they are at.
    pub stage: Stage,
    /// Since when they have come through the last one.
    pub graduated_at: Option<DateTime<Utc>>,
}

/// What can happen next.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Step {
    /// To a stage.
    To(Stage),
    /// Out of the last stage.
    Graduate,
}

/// Why a step cannot be taken.
#[derive(Clone, Copy, Debug, PartialEq, Eq, thiserror::Error)]
pub enum StepError {
    /// The stage is not the one after the present one.
    #[error("a stage follows the one before it")]
    StageNotNext,
    /// The person has not come to the last stage.
    #[error("whoever graduates is at the last stage")]
    NotAtLastStage,
    /// The person has graduated.
    #[error("nobody graduates twice")]
    GraduatedAlready,
}

// === impl Stage ===

impl Stage {
    /// Where everybody begins.
    pub const FIRST: Self = Self(1);
    /// Where people graduate.
    pub const LAST: Self = Self(3);

    /// The stage with this number, 1 to 3.
    #[must_use]
    pub fn new(number: i32) -> Option<Self> {
        let stage = Self(u8::try_from(number).ok()?);
        (Self::FIRST..=Self::LAST).contains(&stage).then_some(stage)
    }

    /// Its number.
    #[must_use]
    pub fn get(self) -> u8 {
        self.0
    }

    /// The one after it. None: it is the last.
    #[must_use]
    pub fn next(self) -> Option<Self> {
        Self::new(i32::from(self.0) + 1)
    }
}

// === impl Progress ===

impl Progress {
    /// How far somebody is who takes `step` at the time `at`.
    ///
    /// # Errors
    ///
    /// When it is not the next one.
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
        let known: Vec<_> = (-1..=257).filter_map(Stage::new).map(Stage::get).collect();
        assert_eq!(known, [1, 2, 3]);
        assert_eq!(Stage::new(i32::MAX), None);
        assert_eq!(
            [1, 2, 3].map(|number| stage(number).next()),
            [Stage::new(2), Stage::new(3), None]
        );
    }

    #[test]
    fn a_stage_is_reached_from_the_one_before_it_alone() {
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
