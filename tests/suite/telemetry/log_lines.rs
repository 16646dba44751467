//! The log of a service, as a machine reads it.

use haven_testkit::service::Service;
use serde_json::Value;

use crate::eventually::eventually;

/// Every line that the service has written. Panics when one is not JSON.
pub(super) fn lines(service: &Service) -> Vec<Value> {
    let output = service.output().unwrap();
    // The last line may be half written.
    let (whole, _) = output.rsplit_once('\n').unwrap_or_default();
    let parse = |line: &str| {
        serde_json::from_str(line).unwrap_or_else(|error| panic!("no JSON: {error} in {line:?}"))
    };
    whole.lines().map(parse).collect()
}

/// The canonical lines about calls with this id, once there is one: it is written when the answer is out.
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

/// The canonical lines about one RPC.
pub(super) fn calls_of(service: &Service, rpc: &str) -> Vec<Value> {
    let calls = lines(service).into_iter();
    calls
        .filter(|line| is_call(line) && line["spans"][0]["rpc"] == rpc)
        .collect()
}

/// Is it said about the call with this id?
pub(super) fn belongs(line: &Value, request_id: &str) -> bool {
    line["spans"][0]["request_id"] == request_id
}

fn is_call(line: &Value) -> bool {
    line["message"] == "call"
}
