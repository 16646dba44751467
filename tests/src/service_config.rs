//! The service config of Haven, generated from the protos. gRPC libraries read it from `proto/haven.service_config.json`.

use std::{collections::BTreeMap, path::PathBuf, time::Duration};

use anyhow::Result;
use prost_reflect::{
    DescriptorPool, FieldDescriptor, Kind as FieldKind, MessageDescriptor, MethodDescriptor,
    prost_types::method_options::IdempotencyLevel,
};
use serde_json::json;
use tonic::Code;

use crate::{
    retry::config::{CodeName, MethodConfig, Name, RetryPolicy, Seconds, ServiceConfig, Throttling},
    workspace,
};

/// The codes of failures that a retry can help. Others with such a code forbid it by a negative pushback.
///
/// ACCOUNT_NOT_READY is not among them: most failures with its code, FAILED_PRECONDITION, are no fault of a server, and
/// each would count against the channel's limit of retries.
const RETRIED: [Code; 3] = [Code::Unavailable, Code::ResourceExhausted, Code::DeadlineExceeded];

/// The most attempts that gRPC libraries make.
const MAX_ATTEMPTS: u32 = 5;

/// The pauses where the server gives none: while a replica restarts, another one is there.
const INITIAL_BACKOFF: Duration = Duration::from_millis(100);
const MAX_BACKOFF: Duration = Duration::from_secs(2);
const BACKOFF_MULTIPLIER: f64 = 2.0;

/// The limit of retries, as large as gRPC allows: the many calls of a backend that a stopping replica refuses at once are
/// no reason to give up. A second without an answer to hundreds of calls is.
const THROTTLING: Throttling = Throttling {
    max_tokens: 1000,
    token_ratio: 1.0,
};

/// The kind of an RPC in the service config: whether it is retried, and its longest time in seconds.
type Kind = (bool, u64);

/// Returns the path of the file.
pub fn path() -> PathBuf {
    workspace::root().join("proto/haven.service_config.json")
}

/// Generates the service config.
///
/// # Errors
///
/// If the descriptors of the protos cannot be decoded.
pub fn generate() -> Result<ServiceConfig> {
    let pool = DescriptorPool::decode(haven_proto::FILE_DESCRIPTOR_SET)?;
    let mut kinds: BTreeMap<Kind, Vec<Name>> = BTreeMap::new();
    for service in pool
        .services()
        .filter(|service| service.full_name().starts_with("haven."))
    {
        for method in service.methods() {
            let kind = (is_repeatable(&method), longest(&method));
            kinds.entry(kind).or_default().push(Name {
                service: service.full_name().to_owned(),
                method: method.name().to_owned(),
            });
        }
    }
    let method_config = kinds.into_iter().map(|((repeatable, seconds), mut name)| {
        name.sort();
        MethodConfig {
            name,
            wait_for_ready: true,
            timeout: Some(Seconds(Duration::from_secs(seconds))),
            retry_policy: repeatable.then(policy),
        }
    });
    Ok(ServiceConfig {
        load_balancing_config: vec![json!({"round_robin": {}})],
        retry_throttling: Some(THROTTLING),
        method_config: method_config.collect(),
    })
}

/// Returns the text of the file.
///
/// # Errors
///
/// Those of [`generate`].
pub fn text() -> Result<String> {
    Ok(serde_json::to_string_pretty(&generate()?)? + "\n")
}

/// Returns whether a repeated call has no further effect: its request has a request id, or its proto declares it.
fn is_repeatable(method: &MethodDescriptor) -> bool {
    let options = method.method_descriptor_proto().options.as_ref();
    let level = options.map_or(IdempotencyLevel::IdempotencyUnknown, |options| {
        options.idempotency_level()
    });
    level != IdempotencyLevel::IdempotencyUnknown || has_request_id(method)
}

/// Returns whether the request of `method` has a request id, or each of the requests that it consists of.
#[must_use]
pub fn has_request_id(method: &MethodDescriptor) -> bool {
    let has_id = |message: &MessageDescriptor| message.get_field_by_name("request_id").is_some();
    let input = method.input();
    let mut parts = input.fields().filter(FieldDescriptor::is_list);
    has_id(&input) || parts.any(|part| matches!(part.kind(), FieldKind::Message(message) if has_id(&message)))
}

/// Returns the longest time that a server spends on a call, in seconds.
fn longest(method: &MethodDescriptor) -> u64 {
    let streams = method.is_server_streaming() || method.is_client_streaming();
    match (streams, method.name().starts_with("Watch")) {
        (false, _) => 60,
        (true, false) => 10 * 60,
        (true, true) => 60 * 60,
    }
}

fn policy() -> RetryPolicy {
    RetryPolicy {
        max_attempts: MAX_ATTEMPTS,
        initial_backoff: Seconds(INITIAL_BACKOFF),
        max_backoff: Seconds(MAX_BACKOFF),
        backoff_multiplier: BACKOFF_MULTIPLIER,
        retryable_status_codes: RETRIED.map(CodeName).to_vec(),
    }
}
