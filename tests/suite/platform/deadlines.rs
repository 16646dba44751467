//! Deadlines: of the caller, the default, and what remains for the handler.

use std::time::Duration;

use haven_platform::config::Requests;
use tonic::{Code, Request};

use super::probe::{Probe, proto, requests};
use crate::status::{reason, violations};

/// Returns a request that the handler answers after `millis` milliseconds.
fn wait(millis: i64) -> proto::WaitRequest {
    proto::WaitRequest { millis, bytes: 0 }
}

#[tokio::test]
async fn a_unary_call_past_its_deadline_fails_with_deadline() {
    let probe = Probe::start().await;
    let mut client = probe.client();
    let mut answered = None;
    for _ in 0..20 {
        let mut request = Request::new(wait(5_000));
        request.set_timeout(Duration::from_millis(300));
        let status = client.wait(request).await.unwrap_err();
        // A few milliseconds are reserved for the response, which is not always enough on a busy machine. Then the client
        // itself ends the call, with a status without details.
        if !status.details().is_empty() {
            answered = Some(status);
            break;
        }
    }
    let status = answered.expect("no response came in time");
    assert_eq!(
        (status.code(), reason(&status)),
        (Code::DeadlineExceeded, "DEADLINE".to_owned())
    );
}

#[tokio::test]
async fn a_stream_past_its_deadline_fails_with_deadline() {
    let probe = Probe::start().await;
    let mut request = Request::new(proto::StreamRequest {
        count: 1_000,
        millis: 50,
        panic: false,
    });
    request
        .metadata_mut()
        .insert("grpc-timeout", "400m".parse().unwrap());
    let mut stream = probe.service().stream(request).await.unwrap().into_inner();
    let mut seen = 0;
    let status = loop {
        match stream.message().await {
            Ok(Some(_)) => seen += 1,
            Ok(None) => panic!("the stream ended without a failure"),
            Err(status) => break status,
        }
    };
    assert_eq!(reason(&status), "DEADLINE");
    assert!((1..20).contains(&seen), "{seen}");
}

/// The default deadline is for unary calls only.
#[tokio::test]
async fn a_stream_without_a_deadline_has_no_default_deadline() {
    let probe = Probe::start_with(Requests {
        default_deadline: Duration::from_millis(200),
        ..requests()
    })
    .await;
    let request = proto::StreamRequest {
        count: 10,
        millis: 50,
        panic: false,
    };
    let mut stream = probe.service().stream(request).await.unwrap().into_inner();
    let mut seen = 0;
    while stream.message().await.unwrap().is_some() {
        seen += 1;
    }
    assert_eq!(seen, 10);
}

#[tokio::test]
async fn a_call_without_a_deadline_gets_the_default_deadline() {
    let probe = Probe::start_with(Requests {
        default_deadline: Duration::from_millis(200),
        ..requests()
    })
    .await;
    let status = probe.client().wait(wait(5_000)).await.unwrap_err();
    assert_eq!(reason(&status), "DEADLINE");
    let remaining = probe
        .client()
        .wait(wait(0))
        .await
        .unwrap()
        .into_inner()
        .remaining_millis;
    assert!((1..=200).contains(&remaining), "{remaining}");
}

#[tokio::test]
async fn the_handler_knows_the_remaining_time() {
    let probe = Probe::start().await;
    let mut request = Request::new(wait(0));
    request.set_timeout(Duration::from_secs(3));
    let remaining = probe
        .client()
        .wait(request)
        .await
        .unwrap()
        .into_inner()
        .remaining_millis;
    assert!(
        (2_000..3_000).contains(&remaining),
        "not a little less than three seconds: {remaining}"
    );
}

#[tokio::test]
async fn a_malformed_deadline_is_refused() {
    let probe = Probe::start().await;
    let mut request = Request::new(wait(0));
    request
        .metadata_mut()
        .insert("grpc-timeout", "soon".parse().unwrap());
    let status = probe.client().wait(request).await.unwrap_err();
    assert_eq!(reason(&status), "INVALID_FIELD");
    assert_eq!(
        violations(&status),
        [("grpc-timeout".to_owned(), "MALFORMED".to_owned())]
    );
}
