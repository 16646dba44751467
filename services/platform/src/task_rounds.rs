//! The metric of background tasks.

/// Counts the rounds of a background task by outcome, in `haven_task_rounds_total`.
///
/// A task whose successful rounds no longer grow either fails or hangs.
#[derive(Clone, Copy, Debug)]
pub struct TaskRounds(&'static str);

impl TaskRounds {
    /// Begins to count the rounds of `task`, at zero.
    #[must_use]
    pub fn of(task: &'static str) -> Self {
        let rounds = Self(task);
        for succeeded in [true, false] {
            rounds.counter(succeeded).absolute(0);
        }
        rounds
    }

    /// Counts a round.
    pub fn count(self, succeeded: bool) {
        self.counter(succeeded).increment(1);
    }

    fn counter(self, succeeded: bool) -> metrics::Counter {
        let outcome = if succeeded { "ok" } else { "failed" };
        metrics::counter!("haven_task_rounds_total", "task" => self.0, "outcome" => outcome)
    }
}
