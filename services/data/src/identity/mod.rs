//! What this service keeps of identity, so that it can tell whose a token is without asking: [`keys`] that verify access
//! tokens, and sessions that have [`ended`].
//!
//! What is there stays until something better comes, so an outage of identity stops nobody who has a token.

pub mod ended;
pub mod keys;

use std::{fmt, future::Future, time::Duration};

use tokio::time::{Instant, sleep_until};

/// How often identity is asked.
#[derive(Clone, Copy)]
struct Pace {
    /// After an answer, unless it says sooner itself.
    fresh: Duration,
    /// When identity did not answer.
    again: Duration,
    /// When it did not answer, and never did: nobody can be served before it does.
    first: Duration,
    /// However many calls want it, identity is not asked more often than this.
    seldom: Duration,
}

/// Asks identity for `what` again and again, and at once when it is `wanted`. An answer may say how long it stays fresh.
/// Ends only by being dropped.
async fn follow<A, W, E>(what: &'static str, pace: Pace, ask: impl Fn() -> A, wanted: impl Fn() -> W)
where
    A: Future<Output = Result<Option<Duration>, E>>,
    W: Future<Output = ()>,
    E: fmt::Display,
{
    let (mut known, mut complained) = (false, false);
    loop {
        let asked = Instant::now();
        let next = match ask().await {
            Ok(max_age) => {
                if complained {
                    tracing::info!("identity's {what} are there again");
                }
                (known, complained) = (true, false);
                max_age.unwrap_or(pace.fresh).clamp(pace.seldom, pace.fresh)
            }
            Err(error) => {
                // Once an outage: every few seconds would bury what else is in the log.
                if !complained {
                    tracing::warn!(%error, "identity's {what} cannot be fetched; those that are known stay");
                }
                complained = true;
                if known { pace.again } else { pace.first }
            }
        };
        // While nothing is known nobody can be served, and it is asked as often as that is worth.
        sleep_until(asked + pace.seldom.min(next)).await;
        tokio::select! {
            () = sleep_until(asked + next) => {}
            () = wanted() => {}
        }
    }
}

#[cfg(test)]
mod tests {
    use std::sync::atomic::{AtomicUsize, Ordering};

    use tokio::time::{sleep, timeout};

    use super::*;

    const FAST: Pace = Pace {
        fresh: Duration::from_millis(300),
        again: Duration::from_millis(100),
        first: Duration::from_millis(50),
        seldom: Duration::from_millis(10),
    };

    /// How often identity is asked within `millis`, when it answers as often as `answers` says and not any more after
    /// that, and a call wants something every `wanted`.
    async fn asked(millis: u64, answers: usize, wanted: Duration) -> usize {
        let count = AtomicUsize::new(0);
        let ask = || async {
            match count.fetch_add(1, Ordering::Relaxed) < answers {
                true => Ok(None),
                false => Err("an outage"),
            }
        };
        let followed = follow("keys", FAST, ask, || sleep(wanted));
        timeout(Duration::from_millis(millis), followed)
            .await
            .unwrap_err();
        count.into_inner()
    }

    // A busy machine asks less often and never more, so what may vary is below.

    #[tokio::test]
    async fn identity_is_asked_at_start_and_when_its_answer_is_old() {
        let count = asked(700, usize::MAX, Duration::MAX).await;
        assert!((2..=3).contains(&count), "{count}");
    }

    #[tokio::test]
    async fn an_outage_is_tried_again_soon_and_sooner_when_nothing_is_known() {
        let count = asked(260, 0, Duration::MAX).await;
        assert!((4..=6).contains(&count), "{count}");
        // The first answer, and after it two that do not come.
        let count = asked(530, 1, Duration::MAX).await;
        assert!((2..=4).contains(&count), "{count}");
    }

    #[tokio::test]
    async fn however_many_calls_want_something_identity_is_asked_seldom() {
        for answers in [usize::MAX, 0] {
            let count = asked(200, answers, Duration::from_millis(1)).await;
            assert!((5..=21).contains(&count), "{count}");
        }
    }

    #[tokio::test]
    async fn an_answer_may_say_when_it_is_old() {
        for (max_age, expected) in [(Duration::from_millis(100), 2..=5), (Duration::ZERO, 10..=46)] {
            let count = AtomicUsize::new(0);
            let ask = || async {
                count.fetch_add(1, Ordering::Relaxed);
                Ok::<_, &str>(Some(max_age))
            };
            let followed = follow("keys", FAST, ask, std::future::pending);
            timeout(Duration::from_millis(450), followed).await.unwrap_err();
            let count = count.into_inner();
            assert!(expected.contains(&count), "{count}");
        }
    }
}
