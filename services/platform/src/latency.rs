//! Quantized latency: an answer that is sent at a multiple of a step after the start of its call does not show how long the call
//! took.

use std::time::Duration;

use tokio::time::Instant;

/// Returns the first multiple of `step` after `start`, at least one step, that is not before `now`. `step` must not be zero.
#[must_use]
pub fn next_step(start: Instant, now: Instant, step: Duration) -> Instant {
    let elapsed = now.saturating_duration_since(start);
    let steps = elapsed.as_nanos().div_ceil(step.as_nanos()).max(1);
    start + step * u32::try_from(steps).unwrap_or(u32::MAX)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn an_answer_waits_for_the_next_step() {
        let start = Instant::now();
        let waits_for = |millis: u64| {
            let now = start + Duration::from_millis(millis);
            let step = Duration::from_millis(50);
            next_step(start, now, step).duration_since(start).as_millis()
        };
        assert_eq!([0, 1, 49, 50, 51, 100].map(waits_for), [50, 50, 50, 50, 100, 100]);
    }
}
