//! Retries of jobs: the number of attempts, the number of leases that may be lost, and the delays after each.

/// The number of attempts after which a job is dead, and the number that RequeueJob adds. The schema has the number
/// too, as the default of `retry_limit`.
pub const ATTEMPTS: i16 = 3;

/// The delays in seconds before the next attempt, by the number of attempts that are left, starting at one left: 30
/// seconds after the first of [`ATTEMPTS`], two minutes after the second. Each gets a jitter of up to half of it, so
/// that jobs that failed together are not retried together.
pub const RETRY_DELAYS: [f64; ATTEMPTS as usize - 1] = [120.0, 30.0];

/// The delays in seconds before the next lease of a job, by the number of leases that it lost before; a job that loses one
/// more is dead. They double from half a minute to an hour and add up to eight hours, so that workers that crash at their
/// start for a night lose no job, and a job that kills each worker ends. Each gets a jitter of up to half of it, so that jobs
/// that one worker lost together are leased again by different ones.
pub const LOST_LEASE_DELAYS: [f64; 14] = [
    30.0, 60.0, 120.0, 240.0, 480.0, 960.0, 1920.0, 3600.0, 3600.0, 3600.0, 3600.0, 3600.0, 3600.0, 3600.0,
];

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

    #[test]
    fn a_job_loses_leases_for_hours_before_it_is_dead() {
        assert!(LOST_LEASE_DELAYS.is_sorted());
        let hours = LOST_LEASE_DELAYS.iter().sum::<f64>() / 3600.0;
        assert!((8.0..9.0).contains(&hours), "{hours}");
    }
}
