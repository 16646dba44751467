//! A gRPC service config, as in `proto/haven.service_config.json`: which RPCs are retried, how, and for how long.
//!
//! The format is the JSON form of `grpc.service_config.ServiceConfig`; gRFC A6 describes the retries.

use std::{fs, path::Path, time::Duration};

use anyhow::{Context, Result, bail, ensure};
use serde::{Deserialize, Deserializer, Serialize, Serializer, de};
use serde_json::Value;
use tonic::Code;

/// A service config. Fields that this type lacks are ignored.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
#[serde(rename_all = "camelCase")]
pub struct ServiceConfig {
    /// The balancing policies in order of preference, each with its settings. tonic does not read them.
    #[serde(default)]
    pub load_balancing_config: Vec<Value>,
    /// The limit of all retries on a channel.
    pub retry_throttling: Option<Throttling>,
    /// The rules for each RPC.
    pub method_config: Vec<MethodConfig>,
}

/// The limit of retries on a channel. A failure costs one token, a success returns `token_ratio`, and calls are retried
/// only while more than half of the tokens are there: retries must not multiply the load on servers that fail.
#[derive(Clone, Copy, Debug, PartialEq, Serialize, Deserialize)]
#[serde(rename_all = "camelCase")]
pub struct Throttling {
    /// The number of tokens at the start, from 1 to 1,000.
    pub max_tokens: u32,
    /// The tokens that a success returns.
    pub token_ratio: f64,
}

/// The rules for some RPCs.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
#[serde(rename_all = "camelCase")]
pub struct MethodConfig {
    /// The RPCs that the rules are for.
    pub name: Vec<Name>,
    /// Whether a call waits for a connection. Otherwise it fails when there is none.
    #[serde(default)]
    pub wait_for_ready: bool,
    /// The longest time for a call with all its retries.
    pub timeout: Option<Seconds>,
    /// How calls are retried. `None` when they are not.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub retry_policy: Option<RetryPolicy>,
}

/// The name of an RPC; of all RPCs of a service without `method`; of all RPCs without both.
#[derive(Clone, Debug, PartialEq, Eq, PartialOrd, Ord, Serialize, Deserialize)]
pub struct Name {
    /// The full name of the service.
    #[serde(default)]
    pub service: String,
    /// The name of the RPC in the service.
    #[serde(default)]
    pub method: String,
}

/// How a call is retried.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
#[serde(rename_all = "camelCase")]
pub struct RetryPolicy {
    /// The largest number of attempts, the first included. gRPC libraries allow five.
    pub max_attempts: u32,
    /// The pause before the first retry.
    pub initial_backoff: Seconds,
    /// The longest pause.
    pub max_backoff: Seconds,
    /// The factor between two pauses.
    pub backoff_multiplier: f64,
    /// The status codes that are retried.
    pub retryable_status_codes: Vec<CodeName>,
}

/// A duration that JSON has as seconds, such as `0.1s`.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Seconds(pub Duration);

/// A status code that JSON has by its name, such as `UNAVAILABLE`.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct CodeName(pub Code);

/// The names of the status codes, by number.
const CODES: [&str; 17] = [
    "OK",
    "CANCELLED",
    "UNKNOWN",
    "INVALID_ARGUMENT",
    "DEADLINE_EXCEEDED",
    "NOT_FOUND",
    "ALREADY_EXISTS",
    "PERMISSION_DENIED",
    "RESOURCE_EXHAUSTED",
    "FAILED_PRECONDITION",
    "ABORTED",
    "OUT_OF_RANGE",
    "UNIMPLEMENTED",
    "INTERNAL",
    "UNAVAILABLE",
    "DATA_LOSS",
    "UNAUTHENTICATED",
];

impl ServiceConfig {
    /// Reads a service config from a file.
    ///
    /// # Errors
    ///
    /// If the file cannot be read, or is no service config that gRPC libraries accept.
    pub fn read(path: &Path) -> Result<Self> {
        let text = fs::read_to_string(path).with_context(|| format!("reading {}", path.display()))?;
        Self::parse(&text).with_context(|| path.display().to_string())
    }

    /// Parses the JSON of a service config.
    ///
    /// # Errors
    ///
    /// If it is no service config that gRPC libraries accept.
    pub fn parse(json: &str) -> Result<Self> {
        let config: Self = serde_json::from_str(json)?;
        config.check()?;
        Ok(config)
    }

    /// Checks the limits of gRPC libraries, which refuse the whole config when a value is outside.
    fn check(&self) -> Result<()> {
        if let Some(throttling) = self.retry_throttling {
            let tokens = throttling.max_tokens;
            ensure!((1..=1000).contains(&tokens), "maxTokens must be from 1 to 1000");
            ensure!(throttling.token_ratio > 0.0, "tokenRatio must be above 0");
        }
        let mut names: Vec<&Name> = self.method_config.iter().flat_map(|rules| &rules.name).collect();
        let all = names.len();
        names.sort();
        names.dedup();
        ensure!(names.len() == all, "a name must be in one methodConfig only");
        for policy in self
            .method_config
            .iter()
            .filter_map(|rules| rules.retry_policy.as_ref())
        {
            ensure!(
                (2..=5).contains(&policy.max_attempts),
                "maxAttempts must be from 2 to 5"
            );
            ensure!(
                !policy.initial_backoff.0.is_zero() && !policy.max_backoff.0.is_zero(),
                "initialBackoff and maxBackoff must be above 0"
            );
            ensure!(
                policy.backoff_multiplier > 0.0,
                "backoffMultiplier must be above 0"
            );
            ensure!(
                !policy.retryable_status_codes.is_empty(),
                "retryableStatusCodes must not be empty"
            );
        }
        Ok(())
    }

    /// Returns the rules for the RPC at the HTTP/2 path `path`, such as `/haven.data.v1.ShareService/OpenShare`.
    pub fn rules(&self, path: &str) -> Option<&MethodConfig> {
        let (service, method) = path.trim_start_matches('/').split_once('/')?;
        let find = |service: &str, method: &str| {
            self.method_config.iter().find(|rules| {
                rules
                    .name
                    .iter()
                    .any(|name| name.service == service && name.method == method)
            })
        };
        find(service, method)
            .or_else(|| find(service, ""))
            .or_else(|| find("", ""))
    }
}

impl Serialize for Seconds {
    fn serialize<S: Serializer>(&self, serializer: S) -> Result<S::Ok, S::Error> {
        serializer.serialize_str(&format!("{}s", self.0.as_secs_f64()))
    }
}

impl<'de> Deserialize<'de> for Seconds {
    fn deserialize<D: Deserializer<'de>>(deserializer: D) -> Result<Self, D::Error> {
        let text = String::deserialize(deserializer)?;
        let seconds = text.strip_suffix('s').and_then(|digits| digits.parse().ok());
        let duration = seconds.and_then(|seconds| Duration::try_from_secs_f64(seconds).ok());
        duration
            .map(Self)
            .ok_or_else(|| de::Error::custom("a duration must be seconds with the unit s, such as 0.1s"))
    }
}

impl Serialize for CodeName {
    fn serialize<S: Serializer>(&self, serializer: S) -> Result<S::Ok, S::Error> {
        serializer.serialize_str(CODES[self.0 as usize])
    }
}

impl<'de> Deserialize<'de> for CodeName {
    fn deserialize<D: Deserializer<'de>>(deserializer: D) -> Result<Self, D::Error> {
        let name = String::deserialize(deserializer)?;
        code(&name).map(Self).map_err(de::Error::custom)
    }
}

/// Returns the status code with a name.
fn code(name: &str) -> Result<Code> {
    let Some(number) = CODES.iter().position(|code| *code == name) else {
        bail!("{name} is not a gRPC status code");
    };
    Ok(Code::from_i32(i32::try_from(number)?))
}
