//! The metrics of one RPC. Those that each call changes are looked up once, when the RPC is called for the first time.

use std::sync::{Arc, OnceLock};

use metrics::{Counter, Gauge, Histogram};
use tonic::Code;

/// The metrics of the RPC `name`.
pub(super) struct RpcMetrics {
    name: Arc<str>,
    in_flight: OnceLock<Gauge>,
    succeeded: OnceLock<Counter>,
    seconds: OnceLock<Histogram>,
}

impl RpcMetrics {
    pub(super) fn new(name: Arc<str>) -> Self {
        Self {
            name,
            in_flight: OnceLock::new(),
            succeeded: OnceLock::new(),
            seconds: OnceLock::new(),
        }
    }

    pub(super) fn name(&self) -> &str {
        &self.name
    }

    /// Counts a call that its client marked as a retry.
    pub(super) fn retried(&self) {
        metrics::counter!("haven_rpc_retries_total", "rpc" => Arc::clone(&self.name)).increment(1);
    }

    /// Counts a call that begins.
    pub(super) fn begun(&self) {
        self.in_flight().increment(1);
    }

    /// Counts a call that ended after `seconds`.
    pub(super) fn ended(&self, code: Code, reason: &str, seconds: f64) {
        self.in_flight().decrement(1);
        if code == Code::Ok {
            self.succeeded
                .get_or_init(|| self.total(code, String::new()))
                .increment(1);
        } else {
            self.total(code, reason.to_owned()).increment(1);
        }
        let histogram = || metrics::histogram!("haven_rpc_seconds", "rpc" => Arc::clone(&self.name));
        self.seconds.get_or_init(histogram).record(seconds);
    }

    fn in_flight(&self) -> &Gauge {
        self.in_flight
            .get_or_init(|| metrics::gauge!("haven_rpc_in_flight"))
    }

    fn total(&self, code: Code, reason: String) -> Counter {
        metrics::counter!("haven_rpc_total", "rpc" => Arc::clone(&self.name), "code" => name(code), "reason" => reason)
    }
}

/// Returns the name of a code in logs and metrics.
pub(super) fn name(code: Code) -> &'static str {
    match code {
        Code::Ok => "Ok",
        Code::Cancelled => "Cancelled",
        Code::Unknown => "Unknown",
        Code::InvalidArgument => "InvalidArgument",
        Code::DeadlineExceeded => "DeadlineExceeded",
        Code::NotFound => "NotFound",
        Code::AlreadyExists => "AlreadyExists",
        Code::PermissionDenied => "PermissionDenied",
        Code::ResourceExhausted => "ResourceExhausted",
        Code::FailedPrecondition => "FailedPrecondition",
        Code::Aborted => "Aborted",
        Code::OutOfRange => "OutOfRange",
        Code::Unimplemented => "Unimplemented",
        Code::Internal => "Internal",
        Code::Unavailable => "Unavailable",
        Code::DataLoss => "DataLoss",
        Code::Unauthenticated => "Unauthenticated",
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_code_has_the_name_of_its_variant() {
        for number in 0..=16 {
            let code = Code::from_i32(number);
            assert_eq!(name(code), format!("{code:?}"));
        }
    }
}
