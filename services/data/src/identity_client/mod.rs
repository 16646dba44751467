//! What this service keeps of identity, so that it can tell whose a token is without asking: [`keys`] that verify access
//! tokens, and sessions that have [`ended`].
//!
//! What is there stays until something better comes, so an outage of identity stops nobody who has a token.

pub mod ended_sessions;
pub mod signing_keys;

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
    use std::{
        future::pending,
        sync::atomic::{AtomicUsize, Ordering},
    };

    use tokio::{
        sync::mpsc,
        time::{sleep, timeout},
    };

    use super::*;

    const FAST: Pace = Pace {
        fresh: Duration::from_millis(300),
        again: Duration::from_millis(100),
        first: Duration::from_millis(50),
        seldom: Duration::from_millis(10),
    };

    /// Longer than anything here takes on a machine that is busy with other tests.
    const LIMIT: Duration = Duration::from_secs(30);

    /// How long after the beginning identity is asked, for the first `times`, when it answers as often as `answers` says and
    /// not any more after that, and a call wants something every `wanted`.
    async fn asked(
        times: usize,
        answers: usize,
        max_age: Option<Duration>,
        wanted: Duration,
    ) -> Vec<Duration> {
        let (moments, mut seen) = mpsc::unbounded_channel();
        let count = AtomicUsize::new(0);
        let began = Instant::now();
        let ask = || async {
            moments.send(began.elapsed()).unwrap();
            match count.fetch_add(1, Ordering::Relaxed) < answers {
                true => Ok(max_age),
                false => Err("an outage"),
            }
        };
        let followed = follow("keys", FAST, ask, || sleep(wanted));
        let enough = async {
            let mut found = Vec::new();
            while found.len() < times {
                found.extend(seen.recv().await);
            }
            found
        };
        let found = async {
            tokio::select! {
                () = followed => pending().await,
                found = enough => found,
            }
        };
        timeout(LIMIT, found).await.unwrap()
    }

    /// Sees that of `moments` none comes sooner than `pace` after another, and one sooner than `bound`. A busy machine makes
    /// each of them late, and none of them early: counted from the first, and not from one that may have been late.
    fn assert_pace(moments: &[Duration], pace: Duration, bound: Duration) {
        for (place, moment) in (0..).zip(moments) {
            assert!(*moment >= pace * place, "{moments:?} at {pace:?}");
        }
        let least = moments.windows(2).map(|two| two[1] - two[0]).min();
        assert!(least < Some(bound), "{moments:?} at {pace:?}");
    }

    #[tokio::test]
    async fn identity_is_asked_at_start_and_when_its_answer_is_old() {
        let moments = asked(4, usize::MAX, None, Duration::MAX).await;
        assert_pace(&moments, FAST.fresh, FAST.fresh * 2);
    }

    #[tokio::test]
    async fn an_outage_is_tried_again_soon_and_sooner_when_nothing_is_known() {
        let moments = asked(6, 0, None, Duration::MAX).await;
        assert_pace(&moments, FAST.first, FAST.again);
        // The first answer, and after it those that do not come.
        let mut moments = asked(6, 1, None, Duration::MAX).await;
        moments.remove(0);
        let since_an_answer: Vec<_> = moments.iter().map(|moment| *moment - FAST.fresh).collect();
        assert_pace(&since_an_answer, FAST.again, FAST.fresh);
    }

    #[tokio::test]
    async fn however_many_calls_want_something_identity_is_asked_seldom() {
        for answers in [usize::MAX, 0] {
            let moments = asked(20, answers, None, Duration::from_millis(1)).await;
            assert_pace(&moments, FAST.seldom, FAST.first);
        }
    }

    #[tokio::test]
    async fn an_answer_may_say_when_it_is_old() {
        for (max_age, pace, bound) in [
            (FAST.again, FAST.again, FAST.fresh),
            (Duration::ZERO, FAST.seldom, FAST.again),
        ] {
            let moments = asked(6, usize::MAX, Some(max_age), Duration::MAX).await;
            assert_pace(&moments, pace, bound);
        }
    }
}
