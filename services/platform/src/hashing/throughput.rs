//! How fast turns come to an end, so that the length of the queue can be told as a time.

use std::{
    sync::{Mutex, MutexGuard, PoisonError},
    time::{Duration, Instant},
};

/// How long one turn takes, until some have been measured.
const FIRST_ESTIMATE: Duration = Duration::from_millis(25);

/// Between the end of a turn and the beginning of the next one there is more than this only when nobody was waiting.
const MAX_GAP: Duration = Duration::from_millis(50);

/// No turn is taken for longer than this.
const MAX_HASH_TIME: Duration = Duration::from_millis(500);

/// A moving average over the last few turns.
#[derive(Debug)]
pub(super) struct Throughput {
    cores: u32,
    state: Mutex<State>,
}

#[derive(Debug)]
struct State {
    turn: Duration,
    /// When a turn ended last, if somebody was waiting for it.
    handed_over: Option<Instant>,
}

impl Throughput {
    pub(super) fn new(cores: usize) -> Self {
        let state = State {
            turn: FIRST_ESTIMATE,
            handed_over: None,
        };
        Self {
            cores: u32::try_from(cores).unwrap_or(u32::MAX),
            state: Mutex::new(state),
        }
    }

    /// How long a turn takes now.
    pub(super) fn turn(&self) -> Duration {
        self.state().turn
    }

    /// How long it takes until `count` turns have ended: one does every `turn / cores`.
    pub(super) fn time_for(&self, count: usize) -> Duration {
        self.turn().mul_f64(count as f64 / f64::from(self.cores))
    }

    /// A turn that began at `began` ends at `now`, with or without somebody waiting for it.
    ///
    /// While there is a queue, what counts is how often a turn ends, not how long each one computes: the cores have other
    /// things to do as well.
    pub(super) fn ended(&self, began: Instant, now: Instant, waited_for: bool) {
        let mut state = self.state();
        let sample = match state.handed_over {
            Some(end) if began.saturating_duration_since(end) < MAX_GAP => {
                now.saturating_duration_since(end) * self.cores
            }
            _ => now.saturating_duration_since(began),
        };
        // A machine that was stopped for a while says nothing about how fast it is, and an estimate that admits nobody is
        // never put right.
        let sample = sample.min(state.turn * 4).min(MAX_HASH_TIME);
        state.turn = (state.turn * 15 + sample) / 16;
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
    fn without_a_queue_a_turn_takes_as_long_as_it_takes() {
        let (throughput, mut now) = (Throughput::new(2), Instant::now());
        for _ in 0..200 {
            throughput.ended(now, now + ms(10), false);
            now += ms(1000);
        }
        assert!(throughput.turn().abs_diff(ms(10)) < ms(1), "{throughput:?}");
        assert!(throughput.time_for(4).abs_diff(ms(20)) < ms(1));
    }

    #[test]
    fn a_machine_that_stood_still_is_not_slow_for_ever() {
        let (throughput, now) = (Throughput::new(2), Instant::now());
        for _ in 0..10 {
            throughput.ended(now, now + Duration::from_secs(3600), true);
        }
        assert!(throughput.turn() < MAX_HASH_TIME, "{throughput:?}");
    }

    #[test]
    fn with_a_queue_it_takes_as_long_as_the_next_one_waits_for_it() {
        let (throughput, start) = (Throughput::new(2), Instant::now());
        // Two cores, on each a turn of 10 ms every 15 ms.
        for n in 0..200_u64 {
            let end = start + Duration::from_micros(7_500 * n);
            throughput.ended(end - ms(10), end, true);
        }
        assert!(throughput.turn().abs_diff(ms(15)) < ms(1), "{throughput:?}");
        // A quiet hour is no slow turn.
        throughput.ended(start + ms(3_600_000), start + ms(3_600_010), false);
        assert!(throughput.turn() < ms(16), "{throughput:?}");
    }
}
