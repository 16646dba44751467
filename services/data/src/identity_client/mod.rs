//! Caches of data from identity, so that access tokens are verified without a call: the [`signing_keys`], and the
//! [`ended_sessions`].
//!
//! A cached answer stays until a newer one arrives, so callers with a token are served during an outage of identity.

pub mod ended_sessions;
pub mod signing_keys;

use std::{fmt, future::Future, time::Duration};

use haven_platform::task_rounds::TaskRounds;
use tokio::time::{Instant, sleep_until};

/// The intervals between requests to identity.
#[derive(Clone, Copy)]
struct RefreshIntervals {
    /// After an answer, unless the answer has a shorter `max_age`.
    after_success: Duration,
    /// After a failure of identity, once there was an answer.
    after_failure: Duration,
    /// After a failure before the first answer: no caller can be served until then.
    before_first_answer: Duration,
    /// The shortest interval, however many calls want a refresh.
    min: Duration,
}

/// Refreshes `what` from identity periodically, and early when `wanted` resolves. `refresh` returns the answer's
/// maximum age, if it has one. Never returns.
async fn refresh_periodically<A, W, E>(
    what: &'static str,
    intervals: RefreshIntervals,
    refresh: impl Fn() -> A,
    wanted: impl Fn() -> W,
) where
    A: Future<Output = Result<Option<Duration>, E>>,
    W: Future<Output = ()>,
    E: fmt::Display,
{
    let rounds = TaskRounds::of(what);
    let (mut has_answer, mut is_out) = (false, false);
    loop {
        let began = Instant::now();
        let answer = refresh().await;
        rounds.count(answer.is_ok());
        let next = match answer {
            Ok(max_age) => {
                if is_out {
                    tracing::info!("fetching identity's {what} works again");
                }
                (has_answer, is_out) = (true, false);
                max_age
                    .unwrap_or(intervals.after_success)
                    .clamp(intervals.min, intervals.after_success)
            }
            Err(error) => {
                // Logged once per outage, not every few seconds.
                if !is_out {
                    tracing::warn!(%error, "identity's {what} cannot be fetched; the cached ones stay in use");
                }
                is_out = true;
                if has_answer {
                    intervals.after_failure
                } else {
                    intervals.before_first_answer
                }
            }
        };
        // `next` is shorter than `min` before the first answer, when no caller can be served.
        sleep_until(began + intervals.min.min(next)).await;
        tokio::select! {
            () = sleep_until(began + next) => {}
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

    const FAST: RefreshIntervals = RefreshIntervals {
        after_success: Duration::from_millis(300),
        after_failure: Duration::from_millis(100),
        before_first_answer: Duration::from_millis(50),
        min: Duration::from_millis(10),
    };

    /// A time limit for a machine that runs other tests.
    const LIMIT: Duration = Duration::from_secs(30);

    /// Returns the times of the first `times` requests since the start. Identity answers the first `answers` requests,
    /// and fails after that; a call wants a refresh every `wanted`.
    async fn request_times(
        times: usize,
        answers: usize,
        max_age: Option<Duration>,
        wanted: Duration,
    ) -> Vec<Duration> {
        let (moments, mut seen) = mpsc::unbounded_channel();
        let count = AtomicUsize::new(0);
        let began = Instant::now();
        let refresh = || async {
            moments.send(began.elapsed()).unwrap();
            match count.fetch_add(1, Ordering::Relaxed) < answers {
                true => Ok(max_age),
                false => Err("an outage"),
            }
        };
        let refreshing = refresh_periodically("keys", FAST, refresh, || sleep(wanted));
        let enough = async {
            let mut found = Vec::new();
            while found.len() < times {
                found.extend(seen.recv().await);
            }
            found
        };
        let found = async {
            tokio::select! {
                () = refreshing => pending().await,
                found = enough => found,
            }
        };
        timeout(LIMIT, found).await.unwrap()
    }

    /// Asserts that no request comes sooner than `interval` after another, and at least one sooner than `bound`.
    /// Counted from the first request, because a busy machine makes any later one late, and none early.
    fn assert_interval(moments: &[Duration], interval: Duration, bound: Duration) {
        for (position, moment) in (0..).zip(moments) {
            assert!(*moment >= interval * position, "{moments:?} at {interval:?}");
        }
        let min = moments.windows(2).map(|two| two[1] - two[0]).min();
        assert!(min < Some(bound), "{moments:?} at {interval:?}");
    }

    #[tokio::test]
    async fn identity_is_requested_at_start_and_when_the_answer_is_old() {
        let moments = request_times(4, usize::MAX, None, Duration::MAX).await;
        assert_interval(&moments, FAST.after_success, FAST.after_success * 2);
    }

    #[tokio::test]
    async fn an_outage_shortens_the_interval_more_so_before_the_first_answer() {
        let moments = request_times(6, 0, None, Duration::MAX).await;
        assert_interval(&moments, FAST.before_first_answer, FAST.after_failure);
        // The first request gets an answer, and all later ones fail.
        let mut moments = request_times(6, 1, None, Duration::MAX).await;
        moments.remove(0);
        let since_an_answer: Vec<_> = moments
            .iter()
            .map(|moment| *moment - FAST.after_success)
            .collect();
        assert_interval(&since_an_answer, FAST.after_failure, FAST.after_success);
    }

    #[tokio::test]
    async fn the_interval_has_a_minimum_however_many_calls_want_a_refresh() {
        for answers in [usize::MAX, 0] {
            let moments = request_times(20, answers, None, Duration::from_millis(1)).await;
            assert_interval(&moments, FAST.min, FAST.before_first_answer);
        }
    }

    #[tokio::test]
    async fn an_answer_may_shorten_the_interval() {
        for (max_age, interval, bound) in [
            (FAST.after_failure, FAST.after_failure, FAST.after_success),
            (Duration::ZERO, FAST.min, FAST.after_failure),
        ] {
            let moments = request_times(6, usize::MAX, Some(max_age), Duration::MAX).await;
            assert_interval(&moments, interval, bound);
        }
    }
}
