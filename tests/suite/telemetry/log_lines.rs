//! Log lines of a service, parsed as JSON.

use haven_testkit::service::Service;
use serde_json::Value;

use crate::eventually::eventually;

/// Returns all log lines of the service. Panics when one is not JSON.
pub(super) fn lines(service: &Service) -> Vec<Value> {
    let output = service.output().unwrap();
    // The last line may be incomplete.
    let (whole, _) = output.rsplit_once('\n').unwrap_or_default();
    let parse = |line: &str| {
        serde_json::from_str(line).unwrap_or_else(|error| panic!("no JSON: {error} in {line:?}"))
    };
    whole.lines().map(parse).collect()
}

/// Waits for the canonical lines of the call with this request id, and returns them. They are written after the response.
pub(super) async fn calls(service: &Service, request_id: &str) -> Vec<Value> {
    let find = || -> Vec<Value> {
        let calls = lines(service).into_iter();
        calls
            .filter(|line| is_call(line) && belongs(line, request_id))
            .collect()
    };
    eventually("a line for the call", async || !find().is_empty()).await;
    find()
}

/// Returns the canonical lines of all calls of one RPC.
pub(super) fn calls_of(service: &Service, rpc: &str) -> Vec<Value> {
    let calls = lines(service).into_iter();
    calls
        .filter(|line| is_call(line) && line["spans"][0]["rpc"] == rpc)
        .collect()
}

/// Returns whether a line belongs to the call with this request id.
pub(super) fn belongs(line: &Value, request_id: &str) -> bool {
    line["spans"][0]["request_id"] == request_id
}

/// Returns whether a line is the canonical line of a call.
fn is_call(line: &Value) -> bool {
    line["message"] == "call"
}
