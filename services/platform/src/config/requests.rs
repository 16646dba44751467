//! The limits of requests: deadline, number, size.

use std::time::Duration;

use clap::Args;

use super::ConfigProblems;

/// The flags of the request limits.
#[derive(Args, Clone, Debug)]
pub struct RequestArgs {
    /// The deadline of a call that has none, such as `10s` or `500ms`
    #[arg(
        long,
        env = "DEFAULT_DEADLINE",
        value_name = "DURATION",
        default_value = "10s"
    )]
    pub default_deadline: String,
    /// The maximum number of calls in flight: half of them calls with one answer, a quarter people's watches; no caller can
    /// take all, and further calls fail with OVERLOADED
    #[arg(long, env = "MAX_IN_FLIGHT", value_name = "N", default_value = "512")]
    pub max_in_flight: String,
    /// The maximum number of open connections; no network can have all, and further ones are closed
    #[arg(long, env = "MAX_CONNECTIONS", value_name = "N", default_value = "2048")]
    pub max_connections: String,
    /// The time in which a request must arrive after its headers
    #[arg(
        long,
        env = "REQUEST_BODY_TIMEOUT",
        value_name = "DURATION",
        default_value = "5s"
    )]
    pub request_body_timeout: String,
    /// The maximum size of a request in bytes; a larger one fails with MESSAGE_TOO_LARGE
    #[arg(
        long,
        env = "MAX_REQUEST_BYTES",
        value_name = "BYTES",
        default_value = "1048576"
    )]
    pub max_request_bytes: String,
    /// The time for calls in flight to finish after a stop signal
    #[arg(long, env = "DRAIN_TIMEOUT", value_name = "DURATION", default_value = "20s")]
    pub drain_timeout: String,
}

/// The limits of requests.
#[derive(Clone, Copy, Debug)]
pub struct Requests {
    /// The deadline of a call that has none.
    pub default_deadline: Duration,
    /// The maximum number of calls in flight.
    pub max_in_flight: usize,
    /// The maximum number of open connections.
    pub max_connections: usize,
    /// The time in which a request must arrive after its headers.
    pub request_body_timeout: Duration,
    /// The maximum size of a request, in bytes.
    pub max_request_bytes: usize,
    /// The time for calls in flight to finish after a stop signal.
    pub drain_timeout: Duration,
}

impl RequestArgs {
    /// Checks the flags, and adds what is wrong to `problems`.
    pub fn check(&self, problems: &mut ConfigProblems) -> Option<Requests> {
        let default_deadline = problems.take("DEFAULT_DEADLINE", duration(&self.default_deadline));
        let max_in_flight = problems.number("MAX_IN_FLIGHT", &self.max_in_flight, 8..=1_000_000);
        let max_connections = problems.number("MAX_CONNECTIONS", &self.max_connections, 8..=1_000_000);
        let request_body_timeout =
            problems.take("REQUEST_BODY_TIMEOUT", duration(&self.request_body_timeout));
        let max_request_bytes = problems.number("MAX_REQUEST_BYTES", &self.max_request_bytes, 1024..=1 << 30);
        let drain_timeout = problems.take("DRAIN_TIMEOUT", duration(&self.drain_timeout));
        Some(Requests {
            default_deadline: default_deadline?,
            max_in_flight: max_in_flight? as usize,
            max_connections: max_connections? as usize,
            request_body_timeout: request_body_timeout?,
            max_request_bytes: max_request_bytes? as usize,
            drain_timeout: drain_timeout?,
        })
    }
}

/// Parses a duration such as `500ms`, `10s` or `5m`: longer than zero, and at most a day.
pub(crate) fn duration(text: &str) -> Result<Duration, &'static str> {
    let (digits, unit) = text.split_at(text.find(|c: char| !c.is_ascii_digit()).unwrap_or(text.len()));
    let amount: u64 = digits
        .parse()
        .map_err(|_| "must be a whole number and a unit, such as 10s, 500ms or 5m")?;
    let duration = match unit {
        "ms" => Duration::from_millis(amount),
        "s" => Duration::from_secs(amount),
        "m" => Duration::from_secs(amount.saturating_mul(60)),
        _ => return Err("must have the unit ms, s or m"),
    };
    if duration.is_zero() || duration > Duration::from_secs(24 * 3600) {
        return Err("must be longer than zero, and at most a day");
    }
    Ok(duration)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_duration_requires_a_unit_and_has_bounds() {
        assert_eq!(duration("10s"), Ok(Duration::from_secs(10)));
        assert_eq!(duration("500ms"), Ok(Duration::from_millis(500)));
        assert_eq!(duration("5m"), Ok(Duration::from_secs(300)));
        for wrong in ["", "10", "s", "1h", "-1s", "0s", "9999999m", "1.5s"] {
            assert!(duration(wrong).is_err(), "{wrong:?}");
        }
    }
}
