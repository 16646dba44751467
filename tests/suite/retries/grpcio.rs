//! grpcio, the gRPC library of Python, as a caller: it retries by the service config alone.

use std::{
    collections::BTreeMap,
    io::{BufRead, BufReader},
    path::PathBuf,
    process::{Child, ChildStdout, Command, Stdio},
};

use haven_proto::{
    data::v1::{AppendMessageRequest, OpenShareRequest, SenderType},
    identity::v1::SignInRequest,
};
use haven_testkit::{
    Person, Stack,
    grpcio::{self, PACKAGE},
    random,
    service::Service,
    service_config, workspace,
};
use prost::Message;
use serde::{Deserialize, Serialize};

use crate::{eventually::eventually, metrics::Metrics, packages::or_skip, superuser_sql::scalar};

const APPEND: &str = "haven.data.v1.ConversationService/AppendMessage";
const SIGN_IN: &str = "haven.identity.v1.SessionService/SignIn";
const OPEN: &str = "haven.data.v1.ShareService/OpenShare";

/// What the program of Python is to do: `grpcio_client.py` describes it.
#[derive(Serialize)]
pub(super) struct Settings {
    pub(super) authority: PathBuf,
    pub(super) service_config: PathBuf,
    /// The number of bytes of a request that the library keeps for a retry; its default is 256 KiB.
    pub(super) retry_buffer: Option<usize>,
    /// The addresses of each service's replicas.
    pub(super) targets: BTreeMap<&'static str, String>,
    pub(super) callers: usize,
    pub(super) calls: Vec<Call>,
}

/// A call of the program.
#[derive(Serialize)]
pub(super) struct Call {
    /// The name of the service's channel.
    pub(super) channel: &'static str,
    pub(super) path: String,
    /// The encoded request in hexadecimal digits.
    pub(super) request: String,
    /// The number of the field that gets a new request id with each call.
    pub(super) request_id_field: Option<u32>,
    /// The number of bytes that are added to the request, in a field that servers skip.
    pub(super) padding: usize,
    pub(super) metadata: Vec<(&'static str, String)>,
    pub(super) timeout: Option<f64>,
}

/// What the program prints at its end.
#[derive(Deserialize)]
pub(super) struct Report {
    /// The number of calls by outcome: `OK`, or the code and the message of a failure.
    pub(super) outcomes: BTreeMap<String, u64>,
    pub(super) seconds: f64,
}

/// The running program.
pub(super) struct Program {
    child: Child,
    output: BufReader<ChildStdout>,
}

impl Program {
    /// Starts the program, and waits until it begins to call. `None` where grpcio cannot be had.
    pub(super) fn start(settings: &Settings) -> Option<Self> {
        let packages = or_skip(&[PACKAGE], grpcio::unpack())?;
        let mut child = Command::new("python3")
            .arg(workspace::root().join("tests/suite/retries/grpcio_client.py"))
            .arg(serde_json::to_string(settings).unwrap())
            .env("PYTHONPATH", packages)
            .env("PYTHONDONTWRITEBYTECODE", "1")
            .stdin(Stdio::piped())
            .stdout(Stdio::piped())
            .spawn()
            .unwrap();
        let mut output = BufReader::new(child.stdout.take().unwrap());
        let mut line = String::new();
        output.read_line(&mut line).unwrap();
        assert_eq!(line, "calling\n");
        Some(Self { child, output })
    }

    /// Ends the program's load, and returns its report.
    pub(super) async fn end(mut self) -> Report {
        drop(self.child.stdin.take());
        let read = tokio::task::spawn_blocking(move || {
            let mut line = String::new();
            self.output.read_line(&mut line).unwrap();
            self.child.wait().unwrap();
            serde_json::from_str(&line).unwrap()
        });
        read.await.unwrap()
    }
}

/// Returns the settings for one call.
fn once(stack: &Stack, call: Call) -> Settings {
    let target = |service: &Service| format!("ipv4:127.0.0.1:{}", service.listeners.api);
    Settings {
        authority: stack.certificates.authority(),
        service_config: service_config::path(),
        retry_buffer: None,
        targets: BTreeMap::from([
            ("identity", target(&stack.identity)),
            ("data", target(&stack.data)),
        ]),
        callers: 0,
        calls: vec![call],
    }
}

/// Returns a call by a person.
fn call(rpc: &str, request: &impl Message, person: &Person) -> Call {
    Call {
        channel: match rpc.starts_with("haven.identity.") {
            true => "identity",
            false => "data",
        },
        path: format!("/{rpc}"),
        request: hex(&request.encode_to_vec()),
        request_id_field: None,
        padding: 0,
        metadata: vec![("authorization", format!("Bearer {}", person.token))],
        timeout: Some(30.0),
    }
}

pub(super) fn hex(bytes: &[u8]) -> String {
    bytes.iter().map(|byte| format!("{byte:02x}")).collect()
}

fn message() -> AppendMessageRequest {
    AppendMessageRequest {
        sender_type: SenderType::User.into(),
        text: "hello".into(),
        message_id: String::new(),
        request_id: random::uuid().to_string(),
    }
}

/// Returns the number of attempts of an RPC that a service has answered.
async fn attempts(service: &Service, rpc: &str) -> f64 {
    let metrics = Metrics::read(service.listeners.metrics).await;
    metrics
        .sum("haven_rpc_total", &[("rpc", rpc)])
        .unwrap_or_default()
}

async fn stored(stack: &Stack) -> i64 {
    scalar(&stack.database, "SELECT count(*) FROM data.conversations").await
}

#[tokio::test]
async fn a_call_waits_for_a_service_that_restarts() {
    let mut stack = Stack::start().await.unwrap();
    let person = stack.person().await.unwrap();
    assert!(stack.data.stop());
    let Some(program) = Program::start(&once(&stack, call(APPEND, &message(), &person))) else {
        return;
    };
    stack.data.start().await.unwrap();
    let report = program.end().await;
    assert_eq!(report.outcomes, BTreeMap::from([("OK".to_owned(), 1)]));
    assert!(report.seconds < 25.0, "{}", report.seconds);
    assert_eq!(stored(&stack).await, 1);
}

#[tokio::test]
async fn a_call_that_finds_the_database_away_is_retried_if_its_repetition_has_no_effect() {
    let mut stack = Stack::builder().own_cluster().start().await.unwrap();
    let person = stack.person().await.unwrap();
    stack.cluster().unwrap().stop();

    let share = OpenShareRequest {
        token: "A".repeat(43),
        ..Default::default()
    };
    let Some(program) = Program::start(&once(&stack, call(OPEN, &share, &person))) else {
        return;
    };
    let report = program.end().await;
    let outcome = report.outcomes.keys().next().unwrap();
    assert!(outcome.starts_with("UNAVAILABLE"), "{outcome}");
    assert_eq!(attempts(&stack.data, OPEN).await, 1.0);

    let appending = Program::start(&once(&stack, call(APPEND, &message(), &person))).unwrap();
    eventually("the first attempt fails", async || {
        attempts(&stack.data, APPEND).await >= 1.0
    })
    .await;
    stack.cluster().unwrap().resume().await.unwrap();
    let report = appending.end().await;
    assert_eq!(report.outcomes, BTreeMap::from([("OK".to_owned(), 1)]));
    // The server's pause between two attempts is a second.
    assert!(report.seconds >= 1.0, "{}", report.seconds);
    let attempts = attempts(&stack.data, APPEND).await;
    assert!((2.0..=5.0).contains(&attempts), "{attempts}");
    assert_eq!(stored(&stack).await, 1);
}

/// The code of the refusal is one that the config retries, and its pause is one that no library should wait for.
#[tokio::test]
async fn a_refusal_that_forbids_a_retry_is_not_retried() {
    let stack = Stack::builder()
        .variable("identity", "SIGN_IN_LIMITS", "network=off,email=1/1h,service=off")
        .start()
        .await
        .unwrap();
    let person = stack.person().await.unwrap();
    let before = attempts(&stack.identity, SIGN_IN).await;
    let request = SignInRequest {
        email: person.email.clone(),
        password: person.password.clone(),
        request_id: random::uuid().to_string(),
        ..SignInRequest::default()
    };
    let Some(program) = Program::start(&once(&stack, call(SIGN_IN, &request, &person))) else {
        return;
    };
    let report = program.end().await;
    let outcome = report.outcomes.keys().next().unwrap();
    assert!(outcome.starts_with("RESOURCE_EXHAUSTED"), "{outcome}");
    assert_eq!(attempts(&stack.identity, SIGN_IN).await - before, 1.0);
}

/// The documentation tells callers with large requests to keep more.
#[tokio::test]
async fn a_large_request_is_retried_if_the_library_keeps_it() {
    let mut stack = Stack::builder().own_cluster().start().await.unwrap();
    let person = stack.person().await.unwrap();
    stack.cluster().unwrap().stop();
    let mut attempted = 0.0;
    for (retry_buffer, expected) in [(None, 1.0), (Some(1 << 20), 5.0)] {
        let mut call = call(APPEND, &message(), &person);
        call.padding = 300 << 10;
        let mut settings = once(&stack, call);
        settings.retry_buffer = retry_buffer;
        let Some(program) = Program::start(&settings) else {
            return;
        };
        let report = program.end().await;
        let outcome = report.outcomes.keys().next().unwrap();
        assert!(outcome.starts_with("UNAVAILABLE"), "{outcome}");
        let all = attempts(&stack.data, APPEND).await;
        assert_eq!(all - attempted, expected, "{retry_buffer:?}");
        attempted = all;
    }
}
