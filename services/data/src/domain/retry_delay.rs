//! Retries of failed jobs: the number of attempts and the delays between them.

/// The number of attempts after which a job is dead, and the number that RequeueJob adds. The schema has the number
/// too, as the default of `retry_limit`.
pub const ATTEMPTS: i16 = 3;

/// The delays in seconds before the next attempt, by the number of attempts that are left, starting at one left: 30
/// seconds after the first of [`ATTEMPTS`], two minutes after the second. Each gets a jitter of up to half of it, so
/// that jobs that failed together are not retried together.
pub const RETRY_DELAYS: [f64; ATTEMPTS as usize - 1] = [120.0, 30.0];

/// Returns [`RETRY_DELAYS`], each multiplied by the same factor of 0.5 to 1.5. `jitter` is random and selects the
/// factor.
#[must_use]
pub fn jittered_retry_delays(jitter: u32) -> [f64; RETRY_DELAYS.len()] {
    RETRY_DELAYS.map(|delay| delay * (0.5 + f64::from(jitter) / f64::from(u32::MAX)))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn retry_delays_grow_and_have_jitter() {
        assert_eq!(jittered_retry_delays(0), [60.0, 15.0]);
        assert_eq!(jittered_retry_delays(u32::MAX), [180.0, 45.0]);
    }
}
