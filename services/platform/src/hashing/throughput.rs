//! The estimate of the hash throughput, which converts a queue length into a waiting time.

use std::{
    sync::{Mutex, MutexGuard, PoisonError},
    time::{Duration, Instant},
};

/// The estimated time of a computation before any was measured.
const FIRST_ESTIMATE: Duration = Duration::from_millis(25);

/// The maximum gap between the end of one computation and the start of the next while calls are waiting.
const MAX_GAP: Duration = Duration::from_millis(50);

/// The maximum estimate of a computation's time.
const MAX_HASH_TIME: Duration = Duration::from_millis(500);

/// A moving average of the time per computation.
#[derive(Debug)]
pub(super) struct Throughput {
    cores: u32,
    state: Mutex<State>,
}

#[derive(Debug)]
struct State {
    hash_time: Duration,
    /// The end of the last computation, if a call was waiting for it.
    handed_over: Option<Instant>,
}

impl Throughput {
    pub(super) fn new(cores: usize) -> Self {
        let state = State {
            hash_time: FIRST_ESTIMATE,
            handed_over: None,
        };
        Self {
            cores: u32::try_from(cores).unwrap_or(u32::MAX),
            state: Mutex::new(state),
        }
    }

    /// Returns the estimated time of one computation.
    pub(super) fn hash_time(&self) -> Duration {
        self.state().hash_time
    }

    /// Returns the estimated time until `count` computations have ended: one ends every `hash_time / cores`.
    pub(super) fn time_for(&self, count: usize) -> Duration {
        self.hash_time().mul_f64(count as f64 / f64::from(self.cores))
    }

    /// Records a computation from `began` to `now`; `waited_for` says whether a call was waiting for it.
    ///
    /// While there is a queue, the sample is the interval between ends rather than the computation's own time, because
    /// the cores do other work too.
    pub(super) fn ended(&self, began: Instant, now: Instant, waited_for: bool) {
        let mut state = self.state();
        let sample = match state.handed_over {
            Some(end) if began.saturating_duration_since(end) < MAX_GAP => {
                now.saturating_duration_since(end) * self.cores
            }
            _ => now.saturating_duration_since(began),
        };
        // A machine that was suspended for a while says nothing about its speed, and an estimate that is too long to
        // admit any call would never be corrected.
        let sample = sample.min(state.hash_time * 4).min(MAX_HASH_TIME);
        state.hash_time = (state.hash_time * 15 + sample) / 16;
        state.handed_over = waited_for.then_some(now);
    }

    fn state(&self) -> MutexGuard<'_, State> {
        self.state.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn ms(millis: u64) -> Duration {
        Duration::from_millis(millis)
    }

    #[test]
    fn without_a_queue_the_computation_itself_is_measured() {
        let (throughput, mut now) = (Throughput::new(2), Instant::now());
        for _ in 0..200 {
            throughput.ended(now, now + ms(10), false);
            now += ms(1000);
        }
        assert!(throughput.hash_time().abs_diff(ms(10)) < ms(1), "{throughput:?}");
        assert!(throughput.time_for(4).abs_diff(ms(20)) < ms(1));
    }

    #[test]
    fn a_suspended_machine_does_not_make_the_estimate_unusable() {
        let (throughput, now) = (Throughput::new(2), Instant::now());
        for _ in 0..10 {
            throughput.ended(now, now + Duration::from_secs(3600), true);
        }
        assert!(throughput.hash_time() < MAX_HASH_TIME, "{throughput:?}");
    }

    #[test]
    fn with_a_queue_the_interval_between_ends_is_measured() {
        let (throughput, start) = (Throughput::new(2), Instant::now());
        // Two cores; on each of them a computation of 10 ms every 15 ms.
        for n in 0..200_u64 {
            let end = start + Duration::from_micros(7_500 * n);
            throughput.ended(end - ms(10), end, true);
        }
        assert!(throughput.hash_time().abs_diff(ms(15)) < ms(1), "{throughput:?}");
        // A quiet hour does not count as a slow computation.
        throughput.ended(start + ms(3_600_000), start + ms(3_600_010), false);
        assert!(throughput.hash_time() < ms(16), "{throughput:?}");
    }
}
