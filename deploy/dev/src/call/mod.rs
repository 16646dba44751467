//! `cargo dev call`: calls any RPC of the running installation, from the descriptors.

mod caller;
mod codec;
mod contracts;
mod describe;
mod example;
mod exchange;
mod failure;
mod list;
mod memory;
mod names;
mod request;

use std::{
    io::{Read, stdin},
    time::Duration,
};

use anyhow::{Context, Result};
use clap::Args;
use haven_testkit::Client;
use tonic::metadata::{AsciiMetadataKey, AsciiMetadataValue, MetadataMap};

pub(crate) use self::failure::exit_code;
use self::{
    caller::Caller,
    contracts::{Contracts, Rpc},
    exchange::Exchange,
    failure::{EXIT_CODES, FailedCall, Usage},
};
use crate::{people::People, selection::Selection};

/// The values of `--server`.
const SERVERS: [&str; 2] = ["identity", "data"];

/// Call an RPC of the running installation, and print its answer as JSON.
///
/// It needs no other tool, and works from the contracts: each RPC of both services, gRPC's health service and its
/// reflection. A name may be short: SignUp, AccountService/SignUp or haven.identity.v1.AccountService/SignUp.
#[derive(Args)]
#[command(after_long_help = help(), override_usage = "cargo dev call [OPTIONS] <NAME> [JSON]\n       \
    cargo dev call --list [SERVICE]\n       cargo dev call --describe <NAME>")]
pub(crate) struct Call {
    /// The RPC: METHOD or SERVICE/METHOD
    #[arg(required_unless_present_any = ["list", "describe", "complete"])]
    name: Option<String>,
    /// The request as JSON; `-` reads it from standard input [default: {}]
    ///
    /// Field names may be written as in the proto or in camelCase. If the request has a `request_id` and the JSON does not,
    /// it is filled with a fresh UUID. An RPC that takes a stream gets each JSON value as a message.
    json: Option<String>,
    #[command(flatten)]
    selection: Selection,
    /// Send this metadata, 'name: value'; can be repeated
    #[arg(long = "header", short = 'H', value_name = "NAME: VALUE", value_parser = parse_header)]
    headers: Vec<(AsciiMetadataKey, AsciiMetadataValue)>,
    /// The deadline of the call, such as 500ms, 5s or 2m [default: that of the service]
    #[arg(long, value_name = "TIME", value_parser = parse_time)]
    timeout: Option<Duration>,
    /// End a stream successfully after N messages
    #[arg(long, value_name = "N", value_parser = clap::value_parser!(u64).range(1..))]
    limit: Option<u64>,
    /// Print each message on one line
    #[arg(long)]
    compact: bool,
    /// Print the request and the metadata of the answer to standard error
    #[arg(long, short)]
    verbose: bool,
    /// The service that is asked, for the RPCs that both have: health and reflection
    #[arg(long, value_name = "SERVER", value_parser = SERVERS)]
    server: Option<String>,
    #[command(flatten)]
    caller: Caller,
    /// List the RPCs of a gRPC service, or all, with the callers that they admit
    #[arg(long, value_name = "SERVICE", num_args = 0..=1, help_heading = "Explanations", exclusive = true)]
    list: Option<Option<String>>,
    /// Explain an RPC, a gRPC service, a message or an enum, with an example
    #[arg(long, value_name = "NAME", help_heading = "Explanations", exclusive = true)]
    describe: Option<String>,
    /// Print the names that begin with a prefix, for the completion of a shell (see below)
    #[arg(long, value_name = "PREFIX", help_heading = "Explanations", exclusive = true)]
    complete: Option<String>,
}

impl Call {
    /// Makes the call, or prints the explanation that is asked for.
    pub(crate) async fn run(self) -> Result<()> {
        let contracts = Contracts::read()?;
        if let Some(service) = &self.list {
            return list::print(&contracts, service.as_deref());
        }
        if let Some(name) = &self.describe {
            return describe::print(&contracts, name);
        }
        if let Some(prefix) = &self.complete {
            return list::complete(&contracts, prefix);
        }
        let rpc = names::rpc(&contracts, &self.name.clone().unwrap_or_default())?;
        let mut json = self.json.clone().unwrap_or_default();
        if json == "-" {
            json.clear();
            stdin()
                .read_to_string(&mut json)
                .context("reading standard input")?;
        }
        let messages = request::messages(&rpc, &json)?;
        let server = self.server(&rpc, &messages)?;
        let is_signed = self.headers.iter().any(|(name, _)| name == "authorization");
        if is_signed && self.caller.person.is_some() {
            return Err(Usage::error(
                "--as sends the header authorization: leave out one of the two",
            ));
        }

        let target = self.selection.running()?;
        let people = People::open(&target.directory);
        let client = |service| Client::new(&target.certificates, service, target.identity, target.data);
        let anonymous = client(None)?;
        let client = client(self.caller.service.as_deref())?;
        let token = self.caller.token(&people, &anonymous).await?;
        let mut metadata = MetadataMap::new();
        for (name, value) in &self.headers {
            metadata.append(name.clone(), value.clone());
        }
        let exchange = Exchange {
            rpc: &rpc,
            server,
            messages,
            metadata,
            timeout: self.timeout,
            limit: self.limit,
            compact: self.compact,
            verbose: self.verbose,
        };
        let Some((token, kept)) = token else {
            let answer = exchange.run(&client).await?;
            return memory::learn(&people, &exchange, None, answer.as_ref());
        };
        let answer = match exchange.run(&client.with_token(&token)?).await {
            // The session was ended by another client. The refused call had no effect.
            Err(problem) if kept && is_refused_token(&problem) => {
                let email = self.caller.person.as_deref().unwrap_or_default();
                let reason = problem
                    .downcast_ref()
                    .and_then(FailedCall::reason)
                    .unwrap_or_default();
                let token = self.caller.sign_in(&people, &anonymous).await?;
                eprintln!("signed in again as {email}: the kept token was refused with {reason}");
                exchange.run(&client.with_token(&token)?).await?
            }
            outcome => outcome?,
        };
        memory::learn(&people, &exchange, self.caller.person.as_deref(), answer.as_ref())
    }

    /// Returns the service to call: `identity` or `data`.
    fn server(&self, rpc: &Rpc, messages: &[prost_reflect::DynamicMessage]) -> Result<&str> {
        match (rpc.server, self.server.as_deref()) {
            (Some(server), None) => Ok(server),
            (Some(server), Some(wrong)) if server != wrong => Err(Usage::error(format!(
                "{} is answered by {server}, not by {wrong}",
                rpc.name()
            ))),
            (_, Some(server)) => Ok(server),
            // The health of a gRPC service is that of the server that has it.
            (None, None) => memory::text(messages.first(), "service")
                .and_then(|service| {
                    SERVERS
                        .into_iter()
                        .find(|server| service.contains(&format!(".{server}.")))
                })
                .ok_or_else(|| {
                    Usage::error(format!(
                        "identity and data both answer {}: choose one with --server",
                        rpc.name()
                    ))
                }),
        }
    }
}

/// The reasons for which a token is refused, before the call has an effect.
const REFUSED_TOKENS: [&str; 3] = ["TOKEN_INVALID", "TOKEN_EXPIRED", "SESSION_REVOKED"];

/// Returns `true` for a call that was refused because of its token, and not because of a password in the request.
fn is_refused_token(problem: &anyhow::Error) -> bool {
    let failed: Option<&FailedCall> = problem.downcast_ref();
    let reason = failed.and_then(FailedCall::reason);
    reason.is_some_and(|reason| REFUSED_TOKENS.contains(&&*reason))
}

/// Parses `name: value`.
fn parse_header(text: &str) -> Result<(AsciiMetadataKey, AsciiMetadataValue), String> {
    let (name, value) = text.split_once(':').ok_or("write it as 'name: value'")?;
    let name = name.trim().to_lowercase();
    if name.ends_with("-bin") {
        return Err("binary metadata (-bin) is not supported".to_owned());
    }
    let key = AsciiMetadataKey::from_bytes(name.as_bytes());
    let key = key.map_err(|_| format!("{name:?} is not the name of a header"))?;
    let value = Some(value.trim()).filter(|value| value.is_ascii());
    let value = value.and_then(|value| value.parse().ok());
    let value = value.ok_or("the value of a header has visible ASCII characters only")?;
    Ok((key, value))
}

/// Parses a time such as `500ms`, `5s`, `2m` or `5`, which is in seconds.
fn parse_time(text: &str) -> Result<Duration, String> {
    let digits = text.trim_end_matches(|character: char| character.is_ascii_alphabetic());
    let number: f64 = digits
        .parse()
        .map_err(|_| "write it as 500ms, 5s or 2m".to_owned())?;
    let seconds = match &text[digits.len()..] {
        "ms" => number / 1000.0,
        "s" | "" => number,
        "m" => number * 60.0,
        unit => return Err(format!("{unit:?} is not a unit: use ms, s or m")),
    };
    match Duration::try_from_secs_f64(seconds) {
        Ok(time) if !time.is_zero() => Ok(time),
        _ => Err("the time must be positive".to_owned()),
    }
}

fn help() -> String {
    format!(
        "\
Examples:
  cargo dev call --describe SignUp
  cargo dev call CheckPassword '{{\"password\": \"ada1906\", \"email\": \"ada@example.org\"}}'
  cargo dev call ListMessages --as ada@example.org
  cargo dev call AppendMessage --as ada@example.org --service backend \\
    '{{\"sender_type\": \"SENDER_TYPE_COACH\", \"text\": \"How did that feel?\"}}'
  cargo dev call WatchCrisisEvents --service backend --limit 1
  cargo dev call Health/Check '{{\"service\": \"haven.data.v1.CycleService\"}}'

The answer goes to standard output: one JSON value, or one for each message of a stream, which ends
on Ctrl-C. A failure goes to standard error, with its reason and its details.

{EXIT_CODES}

Completion in bash, of `haven AppendM<Tab>`:
  haven() {{ cargo dev call \"$@\"; }}
  _haven() {{ mapfile -t COMPREPLY < <(cargo --quiet dev call --complete \"$2\"); }}
  complete -F _haven haven"
    )
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_time_has_a_number_and_a_unit() {
        let milliseconds = |text| parse_time(text).map(|time| time.as_millis());
        assert_eq!(milliseconds("500ms"), Ok(500));
        assert_eq!(milliseconds("1.5s"), Ok(1500));
        assert_eq!(milliseconds("2m"), Ok(120_000));
        assert_eq!(milliseconds("3"), Ok(3000));
        for wrong in ["", "s", "0s", "-1s", "5h", "1e30s"] {
            assert!(parse_time(wrong).is_err(), "{wrong}");
        }
    }

    #[test]
    fn a_header_has_a_name_and_a_value() {
        let (name, value) = parse_header("X-Request-Id: a: b ").unwrap();
        assert_eq!((name.as_str(), value.to_str().unwrap()), ("x-request-id", "a: b"));
        for wrong in [
            "name",
            "na me: value",
            ": value",
            "trace-bin: AA",
            "name: v\u{e4}lue",
        ] {
            assert!(parse_header(wrong).is_err(), "{wrong}");
        }
    }
}
