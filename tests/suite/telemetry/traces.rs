//! Traces: W3C Trace Context across both services, and the export of spans.

use haven_proto::identity::v1::GetSigningKeysRequest;
use haven_testkit::{Client, Stack, client::sign_up_request};
use tonic::Request;

use super::{
    collector::Collector,
    log_lines::{calls, calls_of},
};
use crate::{
    eventually::eventually,
    leaks::canary::{Flock, Haystack},
    raw_call::{self, headers},
};

const PROVISION: &str = "haven.data.v1.PersonService/ProvisionUser";
const KEYS: &str = "/haven.identity.v1.SessionService/GetSigningKeys";

/// Returns the header `traceparent` (W3C Trace Context, level 1) of a new trace, its trace id and its span id.
fn traceparent(flags: &str) -> (String, String, String) {
    let trace = format!("{:032x}", rand::random::<u128>().max(1));
    let span = format!("{:016x}", rand::random::<u64>().max(1));
    (format!("00-{trace}-{span}-{flags}"), trace, span)
}

/// Calls SignUp with `traceparent`, and returns the request id.
async fn sign_up(client: &Client, traceparent: &str, email: &str, password: &str) -> String {
    let mut request = Request::new(sign_up_request(email, password));
    let headers = headers(&[("traceparent", traceparent)]);
    request
        .metadata_mut()
        .insert("traceparent", headers.get("traceparent").unwrap().clone());
    let answer = client.account().sign_up(request).await.unwrap();
    answer
        .metadata()
        .get("x-request-id")
        .unwrap()
        .to_str()
        .unwrap()
        .to_owned()
}

#[tokio::test]
async fn a_trace_id_is_propagated_to_both_services() {
    let stack = Stack::start().await.unwrap();
    let anonymous = stack.anonymous().unwrap();
    // Flags of a trace that the caller records (01) or does not record (00).
    for (count, flags) in ["01", "00"].into_iter().enumerate() {
        let (header, trace, _) = traceparent(flags);
        let email = format!("ada-{flags}@example.org");
        let id = sign_up(&anonymous, &header, &email, "Correct-Horse-7-Battery").await;
        assert_eq!(calls(&stack.identity, &id).await[0]["trace_id"], trace);
        let provisioned = || calls_of(&stack.data, PROVISION);
        eventually("data's log line", async || provisioned().len() > count).await;
        assert_eq!(provisioned()[count]["trace_id"], trace, "sampled: {flags}");
    }
    // A malformed traceparent is ignored.
    let (_, trace, span) = traceparent("01");
    for broken in [
        format!("00-{trace}-{span}"),
        format!("ff-{trace}-{span}-01"),
        "x".to_owned(),
    ] {
        let connection = anonymous.connection("identity");
        let called = raw_call::call(connection, KEYS, headers(&[("traceparent", &broken)]), Vec::new()).await;
        let answer = called.unwrap();
        let id = answer.metadata().get("x-request-id").unwrap().to_str().unwrap();
        assert_ne!(calls(&stack.identity, id).await[0]["trace_id"], trace, "{broken}");
    }
}

// Stopping a service blocks its thread. The collector and the clients need another one.
#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn spans_of_both_services_are_exported_under_the_callers_trace() {
    let collector = Collector::start();
    let mut stack = Stack::builder()
        .variable("identity", "OTLP_ENDPOINT", collector.endpoint())
        .variable("data", "OTLP_ENDPOINT", collector.endpoint())
        .start()
        .await
        .unwrap();
    let anonymous = stack.anonymous().unwrap();
    let flock = Flock::default();
    let (email, password) = (flock.canary("an email address"), flock.canary("a password"));
    let (header, trace, parent) = traceparent("01");
    sign_up(&anonymous, &header, &email.email(), &password.password()).await;
    // Failing calls, each with a canary, and one call without a trace.
    let refused = sign_up_request(&email.email(), flock.canary("a weak password").word());
    assert!(anonymous.account().sign_up(refused).await.is_err());
    let garbage = raw_call::field(1, &[flock.canary("garbage").text().as_bytes(), &[0xff]].concat());
    for path in ["/haven.identity.v1.SessionService/SignIn", KEYS] {
        let token = format!("Bearer {}", flock.canary("a token").word());
        let headers = headers(&[
            ("authorization", &token),
            ("user-agent", flock.canary("a header").word()),
        ]);
        let _ = raw_call::call(anonymous.connection("identity"), path, headers, garbage.clone()).await;
    }
    let path = format!(
        "/haven.identity.v1.SessionService/{}",
        flock.canary("a path").word()
    );
    assert!(
        raw_call::call(anonymous.connection("identity"), &path, headers(&[]), Vec::new())
            .await
            .is_err()
    );
    let answer = anonymous
        .session()
        .get_signing_keys(GetSigningKeysRequest {})
        .await
        .unwrap();
    let id = answer
        .metadata()
        .get("x-request-id")
        .unwrap()
        .to_str()
        .unwrap()
        .to_owned();
    let untraced = calls(&stack.identity, &id).await[0]["trace_id"]
        .as_str()
        .unwrap()
        .to_owned();

    // The services export their remaining spans when they stop.
    assert!(stack.identity.stop() && stack.data.stop());
    let hex = |bytes: &[u8]| bytes.iter().map(|byte| format!("{byte:02x}")).collect::<String>();
    let spans = collector.spans();
    let of = |service: &str, trace: &str| {
        let mut spans = spans
            .iter()
            .filter(|(name, span)| name == service && hex(&span.trace_id) == trace);
        spans.next().map(|(_, span)| span.clone())
    };
    let signed_up = of("identity", &trace).expect("identity's span");
    assert_eq!(hex(&signed_up.parent_span_id), parent);
    let provisioned = of("data", &trace).expect("data's span");
    assert_eq!(provisioned.parent_span_id, signed_up.span_id);
    assert!(
        of("identity", &untraced).is_some(),
        "a call without a trace starts one"
    );
    for (span, rpc) in [
        (&signed_up, "haven.identity.v1.AccountService/SignUp"),
        (&provisioned, PROVISION),
    ] {
        assert!(format!("{span:?}").contains(rpc), "{span:?}");
        assert!(span.end_time_unix_nano > span.start_time_unix_nano, "{span:?}");
    }
    let content = Haystack::new(collector.content());
    for canary in flock.all() {
        assert_eq!(canary.found(&content), None, "{}", canary.what);
    }
    let control = Flock::default().given("an RPC", crate::leaks::canary::Allowed::Nowhere, PROVISION);
    assert!(control.found(&content).is_some());
}

/// A missing collector fails no call.
#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn the_services_run_and_stop_without_a_collector() {
    let port = haven_testkit::port::Port::reserve().unwrap();
    let no_collector = format!("http://127.0.0.1:{}", port.number());
    let mut stack = Stack::builder()
        .variable("identity", "OTLP_ENDPOINT", &no_collector)
        .variable("data", "OTLP_ENDPOINT", &no_collector)
        .start()
        .await
        .unwrap();
    stack.person().await.unwrap();
    assert!(
        stack.identity.stop() && stack.data.stop(),
        "a service did not stop in time"
    );
}
