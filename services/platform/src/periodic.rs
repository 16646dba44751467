//! Background work that is done again and again, for as long as the service runs.

use std::time::Duration;

use tokio::time::{Instant, MissedTickBehavior, interval_at};
use tokio_util::sync::CancellationToken;

use crate::{database::DbError, entropy::Entropy};

/// Within which time after the start the first round is, at random: replicas start together.
const MAX_FIRST_DELAY: Duration = Duration::from_secs(5);

/// Something that is done again and again.
#[derive(Clone, Copy, Debug)]
pub struct PeriodicTask {
    /// What it is, for the log.
    pub name: &'static str,
    /// How often.
    pub period: Duration,
}

impl PeriodicTask {
    /// Does `round`, with its number from 0 on, until `stop` says so. A round that fails is logged when failing begins and
    /// when it ends, and not each time; the next one is tried as if nothing had been. None begins after `stop`, and one
    /// that is cut short by it is taken back by the database.
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
        let mut is_out = false;
        for number in 0.. {
            let outcome = async {
                ticks.tick().await;
                round(number).await
            };
            // In this order: no round begins once it is to stop.
            tokio::select! {
                biased;
                () = stop.cancelled() => return,
                outcome = outcome => self.report(&mut is_out, outcome),
            }
        }
    }

    /// Says an outage once when it begins, and once when it ends.
    fn report(self, is_out: &mut bool, outcome: Result<(), DbError>) {
        let was_out = std::mem::replace(is_out, outcome.is_err());
        match outcome {
            Err(error) if !was_out => tracing::warn!(%error, task = self.name, "a background task fails"),
            Ok(()) if was_out => tracing::info!(task = self.name, "a background task works again"),
            _ => {}
        }
    }
}

/// `random` as a part of [`MAX_FIRST_DELAY`].
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
    };

    #[test]
    fn replicas_begin_at_different_times_and_soon() {
        assert_eq!(first_delay(0), Duration::ZERO);
        assert_ne!(first_delay(1), first_delay(2));
        assert!(first_delay(255) < MAX_FIRST_DELAY);
    }

    #[test]
    fn an_outage_lasts_until_a_round_is_done() {
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
    async fn rounds_go_on_after_one_failed_until_they_are_to_stop() {
        // Several, because what would be done in any order is done in this one every other time.
        let tries = (0..20).map(|_| async {
            let (stop, seen) = (CancellationToken::new(), Mutex::new(Vec::new()));
            let round = async |number| {
                seen.lock().unwrap().push(number);
                if number == 2 {
                    // The next one is due before this one ends.
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
}
