//! Background tasks that run at a fixed interval for as long as the service runs.

use std::time::Duration;

use tokio::time::{Instant, MissedTickBehavior, interval_at, timeout};
use tokio_util::sync::CancellationToken;

use crate::{database::DbError, entropy::Entropy, task_rounds::TaskRounds};

/// The maximum of the random delay before the first round, so that replicas that start together do not work together.
const MAX_FIRST_DELAY: Duration = Duration::from_secs(5);

/// A task that runs at a fixed interval.
#[derive(Clone, Copy, Debug)]
pub struct PeriodicTask {
    /// The task's name in the log and in `haven_task_rounds_total`.
    pub name: &'static str,
    /// The interval between the starts of two rounds.
    pub period: Duration,
    /// The maximum time of a round, so that one that hangs does not stop the task for ever. The next round continues its
    /// work.
    pub limit: Duration,
}

/// Runs one `round` of a background task for at most `limit`.
///
/// # Errors
///
/// Those of `round`, and that of a deadline when `limit` passes. The transaction in progress is rolled back.
pub async fn limited<T>(
    limit: Duration,
    round: impl Future<Output = Result<T, DbError>>,
) -> Result<T, DbError> {
    timeout(limit, round)
        .await
        .unwrap_or_else(|_| Err(DbError::deadline()))
}

impl PeriodicTask {
    /// Runs `round` at every interval until `stop` is cancelled. `round` receives its number, from 0 on.
    ///
    /// A failure is logged when rounds begin to fail and when they succeed again, not for each round; the next round
    /// runs as usual. No round begins after `stop` is cancelled. A round that is interrupted by it is rolled back by
    /// the database.
    pub async fn run<F: Future<Output = Result<(), DbError>>>(
        self,
        entropy: Entropy,
        stop: CancellationToken,
        mut round: impl FnMut(u64) -> F,
    ) {
        let mut random = [0];
        entropy.fill(&mut random);
        let mut ticks = interval_at(Instant::now() + first_delay(random[0]), self.period);
        ticks.set_missed_tick_behavior(MissedTickBehavior::Delay);
        let rounds = TaskRounds::of(self.name);
        let mut is_out = false;
        for number in 0.. {
            let outcome = async {
                ticks.tick().await;
                limited(self.limit, round(number)).await
            };
            // Biased: no round begins after `stop` is cancelled.
            tokio::select! {
                biased;
                () = stop.cancelled() => return,
                outcome = outcome => {
                    rounds.count(outcome.is_ok());
                    self.report(&mut is_out, outcome);
                }
            }
        }
    }

    /// Logs the first failure of a series, and the success that ends it.
    fn report(self, is_out: &mut bool, outcome: Result<(), DbError>) {
        let was_out = std::mem::replace(is_out, outcome.is_err());
        match outcome {
            Err(error) if !was_out => tracing::warn!(%error, task = self.name, "background task fails"),
            Ok(()) if was_out => tracing::info!(task = self.name, "background task works again"),
            _ => {}
        }
    }
}

/// Returns the fraction `random` / 256 of [`MAX_FIRST_DELAY`].
fn first_delay(random: u8) -> Duration {
    MAX_FIRST_DELAY * u32::from(random) / 256
}

#[cfg(test)]
mod tests {
    use std::sync::Mutex;

    use futures_util::future::join_all;

    use super::*;

    const ROUNDS: PeriodicTask = PeriodicTask {
        name: "test",
        period: Duration::from_millis(1),
        limit: Duration::from_secs(1),
    };

    #[test]
    fn replicas_begin_at_different_times_within_the_maximum_delay() {
        assert_eq!(first_delay(0), Duration::ZERO);
        assert_ne!(first_delay(1), first_delay(2));
        assert!(first_delay(255) < MAX_FIRST_DELAY);
    }

    #[test]
    fn an_outage_lasts_until_a_round_succeeds() {
        let mut is_out = false;
        for (outcome, expected) in [
            (Err(DbError::unexpected("x")), true),
            (Err(DbError::unexpected("x")), true),
            (Ok(()), false),
        ] {
            ROUNDS.report(&mut is_out, outcome);
            assert_eq!(is_out, expected);
        }
    }

    #[tokio::test]
    async fn rounds_continue_after_a_failure_and_end_on_stop() {
        // Several runs: without `biased`, about half of them would begin one more round.
        let tries = (0..20).map(|_| async {
            let (stop, seen) = (CancellationToken::new(), Mutex::new(Vec::new()));
            let round = async |number| {
                seen.lock().unwrap().push(number);
                if number == 2 {
                    // The next round is due before this one ends.
                    tokio::time::sleep(ROUNDS.period * 10).await;
                    stop.cancel();
                }
                Err(DbError::unexpected("x"))
            };
            ROUNDS.run(Entropy::seeded(1), stop.clone(), round).await;
            seen.into_inner().unwrap()
        });
        let tries = tokio::time::timeout(MAX_FIRST_DELAY * 4, join_all(tries))
            .await
            .unwrap();
        assert!(tries.iter().all(|seen| seen == &[0, 1, 2]), "{tries:?}");
    }

    #[tokio::test]
    async fn a_round_that_hangs_does_not_stop_the_task() {
        let task = PeriodicTask {
            limit: Duration::from_millis(5),
            ..ROUNDS
        };
        let (stop, seen) = (CancellationToken::new(), Mutex::new(Vec::new()));
        let round = async |number| {
            seen.lock().unwrap().push(number);
            if number == 1 {
                stop.cancel();
            }
            std::future::pending().await
        };
        let run = task.run(Entropy::seeded(1), stop.clone(), round);
        tokio::time::timeout(MAX_FIRST_DELAY * 4, run).await.unwrap();
        assert_eq!(*seen.lock().unwrap(), [0, 1]);
    }
}
