//! How much a service takes on, and for how long.

use std::time::Duration;

use clap::Args;

use super::ConfigProblems;

/// The flags.
#[derive(Args, Clone, Debug)]
pub struct RequestArgs {
    /// The deadline of a call that names none, such as `10s` or `500ms`
    #[arg(
        long,
        env = "DEFAULT_DEADLINE",
        value_name = "DURATION",
        default_value = "10s"
    )]
    pub default_deadline: String,
    /// At most how many calls are worked on at once, of which those that need no token can take three quarters; more are
    /// turned away with OVERLOADED
    #[arg(long, env = "MAX_IN_FLIGHT", value_name = "N", default_value = "256")]
    pub max_in_flight: String,
    /// The largest request in bytes; a larger one is refused with MESSAGE_TOO_LARGE
    #[arg(
        long,
        env = "MAX_REQUEST_BYTES",
        value_name = "BYTES",
        default_value = "1048576"
    )]
    pub max_request_bytes: String,
    /// How long calls may go on after a signal to stop, before they are cut off
    #[arg(long, env = "DRAIN_TIMEOUT", value_name = "DURATION", default_value = "20s")]
    pub drain_timeout: String,
}

/// How much a service takes on.
#[derive(Clone, Copy, Debug)]
pub struct Requests {
    /// The deadline of a call that names none.
    pub default_deadline: Duration,
    /// At most how many calls at once.
    pub max_in_flight: usize,
    /// The largest request, in bytes.
    pub max_request_bytes: usize,
    /// How long calls may go on after a signal to stop.
    pub drain_timeout: Duration,
}

impl RequestArgs {
    /// Checks the flags.
    pub fn check(&self, problems: &mut ConfigProblems) -> Option<Requests> {
        let default_deadline = problems.take("DEFAULT_DEADLINE", duration(&self.default_deadline));
        let max_in_flight = problems.number("MAX_IN_FLIGHT", &self.max_in_flight, 1..=1_000_000);
        let max_request_bytes = problems.number("MAX_REQUEST_BYTES", &self.max_request_bytes, 1024..=1 << 30);
        let drain_timeout = problems.take("DRAIN_TIMEOUT", duration(&self.drain_timeout));
        Some(Requests {
            default_deadline: default_deadline?,
            max_in_flight: max_in_flight? as usize,
            max_request_bytes: max_request_bytes? as usize,
            drain_timeout: drain_timeout?,
        })
    }
}

/// `500ms`, `10s` or `5m`.
fn duration(text: &str) -> Result<Duration, &'static str> {
    let (digits, unit) = text.split_at(text.find(|c: char| !c.is_ascii_digit()).unwrap_or(text.len()));
    let amount: u64 = digits
        .parse()
        .map_err(|_| "has to be a whole number and a unit, such as 10s, 500ms or 5m")?;
    let duration = match unit {
        "ms" => Duration::from_millis(amount),
        "s" => Duration::from_secs(amount),
        "m" => Duration::from_secs(amount.saturating_mul(60)),
        _ => return Err("has to have the unit ms, s or m"),
    };
    if duration.is_zero() || duration > Duration::from_secs(24 * 3600) {
        return Err("has to be longer than nothing, and at most a day");
    }
    Ok(duration)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn durations_have_a_unit() {
        assert_eq!(duration("10s"), Ok(Duration::from_secs(10)));
        assert_eq!(duration("500ms"), Ok(Duration::from_millis(500)));
        assert_eq!(duration("5m"), Ok(Duration::from_secs(300)));
        for wrong in ["", "10", "s", "1h", "-1s", "0s", "9999999m", "1.5s"] {
            assert!(duration(wrong).is_err(), "{wrong:?}");
        }
    }
}
