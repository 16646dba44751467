//! The retry layer for clients of tonic, in front of a service that fails as it is told.

use std::{
    collections::VecDeque,
    error::Error,
    fmt,
    sync::{Arc, Mutex},
    time::{Duration, Instant},
};

use haven_platform::{failure::Failure, reason::Reason};
use haven_testkit::{
    retry::{RetryLayer, config::ServiceConfig},
    service_config,
};
use http::{HeaderMap, HeaderValue, Request, Response};
use http_body::Frame;
use http_body_util::{BodyExt, StreamBody};
use tonic::{Code, ConnectError, Status, body::Body};
use tower::{Layer, Service, service_fn};

const APPEND: &str = "/haven.data.v1.ConversationService/AppendMessage";
const OPEN: &str = "/haven.data.v1.ShareService/OpenShare";
const PULL: &str = "/haven.data.v1.CycleService/PullChanges";

/// What happens to an attempt.
#[derive(Clone)]
enum Fate {
    /// A response with one message.
    Answered,
    /// A response without messages and with this status in its headers.
    Failed(Status),
    /// A response with this status in its trailers, after messages.
    FailedAfter(usize, Status),
    /// A response that is cut off after messages.
    CutAfter(usize),
    /// No connection.
    NotSent,
    /// A connection that breaks.
    Lost,
}

/// An error of a channel, with its cause.
#[derive(Debug)]
struct TransportError(Box<dyn Error + Send + Sync>);

impl fmt::Display for TransportError {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("transport error")
    }
}

impl Error for TransportError {
    fn source(&self) -> Option<&(dyn Error + 'static)> {
        Some(&*self.0)
    }
}

/// The outcome of a call: its code, with the number of messages before it; the headers of each attempt; the time that it
/// took.
struct Outcome {
    code: Code,
    messages: usize,
    attempts: Vec<HeaderMap>,
    took: Duration,
}

/// A call that is sent through the layer.
struct Call {
    path: &'static str,
    timeout: Option<&'static str>,
    layer: RetryLayer,
}

fn config() -> ServiceConfig {
    ServiceConfig::read(&service_config::path()).unwrap()
}

fn call(path: &'static str) -> Call {
    Call {
        path,
        timeout: None,
        layer: RetryLayer::new(config()),
    }
}

/// Returns a failure as the server sends it, with a pushback.
fn pushed_back(status: impl Into<Status>, pushback: &str) -> Fate {
    let mut status = status.into();
    let pushback = HeaderValue::try_from(pushback).unwrap();
    let metadata = status.metadata_mut();
    metadata.insert(
        "grpc-retry-pushback-ms",
        pushback.to_str().unwrap().parse().unwrap(),
    );
    Fate::Failed(status)
}

fn failed(reason: Reason) -> Fate {
    Fate::Failed(Failure::new(reason).into())
}

fn unavailable() -> Fate {
    Fate::Failed(Status::unavailable("from a proxy"))
}

fn respond(fate: Fate) -> Result<Response<Body>, TransportError> {
    let stream = |messages: usize, end: Result<HeaderMap, Status>| {
        // An empty message behind its five bytes of prefix.
        let messages = (0..messages).map(|_| Ok(Frame::data(bytes::Bytes::from_static(&[0; 5]))));
        let frames = messages.chain([end.map(Frame::trailers)]).collect::<Vec<_>>();
        Response::new(Body::new(StreamBody::new(tokio_stream::iter(frames))))
    };
    let trailers = |status: Status| {
        let mut trailers = HeaderMap::new();
        status.add_header(&mut trailers).unwrap();
        trailers
    };
    match fate {
        Fate::Answered => Ok(stream(1, Ok(trailers(Status::ok(""))))),
        Fate::Failed(status) => Ok(status.into_http()),
        Fate::FailedAfter(messages, status) => Ok(stream(messages, Ok(trailers(status)))),
        Fate::CutAfter(messages) => Ok(stream(messages, Err(Status::unknown("connection reset")))),
        Fate::NotSent => Err(TransportError(Box::new(ConnectError("refused".into())))),
        Fate::Lost => Err(TransportError("connection reset".into())),
    }
}

impl Call {
    fn timeout(mut self, timeout: &'static str) -> Self {
        self.timeout = Some(timeout);
        self
    }

    /// Sends the call. The attempts meet `fates` in turn; those after them are answered.
    async fn meets(&self, fates: &[Fate]) -> Outcome {
        let fates: Mutex<VecDeque<Fate>> = Mutex::new(fates.to_vec().into());
        let state = Arc::new((fates, Mutex::new(Vec::new())));
        let seen = Arc::clone(&state);
        let server = service_fn(move |request: Request<Body>| {
            let seen = Arc::clone(&seen);
            async move {
                let headers = request.headers().clone();
                let sent = request.into_body().collect().await.unwrap().to_bytes();
                assert_eq!(sent, "the request", "each attempt has the whole request");
                seen.1.lock().unwrap().push(headers);
                let fate = seen.0.lock().unwrap().pop_front();
                respond(fate.unwrap_or(Fate::Answered))
            }
        });
        let mut request = Request::new(Body::new("the request".to_owned()));
        *request.uri_mut() = self.path.parse().unwrap();
        if let Some(timeout) = self.timeout {
            request
                .headers_mut()
                .insert("grpc-timeout", HeaderValue::from_static(timeout));
        }
        let began = Instant::now();
        let response = self.layer.layer(server).call(request).await;
        let (code, messages) = match response {
            Err(_) => (Code::Unavailable, 0),
            Ok(response) => read(response).await,
        };
        let attempts = state.1.lock().unwrap().clone();
        Outcome {
            code,
            messages,
            attempts,
            took: began.elapsed(),
        }
    }
}

/// Reads a response to its end.
async fn read(response: Response<Body>) -> (Code, usize) {
    let code = |headers: &HeaderMap| Status::from_header_map(headers).map(|status| status.code());
    if let Some(code) = code(response.headers()) {
        return (code, 0);
    }
    let (mut body, mut messages) = (response.into_body(), 0);
    while let Some(frame) = body.frame().await {
        match frame {
            Err(status) => return (status.code(), messages),
            Ok(frame) => match frame.trailers_ref() {
                Some(trailers) => return (code(trailers).unwrap(), messages),
                None => messages += 1,
            },
        }
    }
    panic!("a response without an end");
}

#[tokio::test]
async fn a_failure_is_retried_if_its_code_is_listed_and_the_server_does_not_forbid_it() {
    for (fate, attempts) in [
        (unavailable(), 2),
        (failed(Reason::Draining), 2),
        (failed(Reason::Overloaded), 2),
        (failed(Reason::Deadline), 2),
        (pushed_back(Status::unavailable(""), "0"), 2),
        (pushed_back(Failure::new(Reason::QuotaExceeded), "-1"), 1),
        (pushed_back(Failure::new(Reason::DependencyUnavailable), "-1"), 1),
        (pushed_back(Status::unavailable(""), "soon"), 1),
        // A server of an earlier version sends no pushback.
        (failed(Reason::QuotaExceeded), 1),
        (failed(Reason::InvalidField), 1),
        (failed(Reason::AccountNotReady), 1),
        (pushed_back(Failure::new(Reason::VersionConflict), "0"), 1),
        (Fate::FailedAfter(0, Failure::new(Reason::Draining).into()), 2),
        (Fate::FailedAfter(0, Failure::new(Reason::Internal).into()), 1),
        (Fate::CutAfter(0), 2),
        (Fate::Lost, 2),
    ] {
        let what = match &fate {
            Fate::Failed(status) | Fate::FailedAfter(_, status) => format!("{status:?}"),
            _ => "a broken connection".to_owned(),
        };
        let outcome = call(APPEND).meets(&[fate]).await;
        assert_eq!(outcome.attempts.len(), attempts, "{what}");
        assert_eq!(
            outcome.code == Code::Ok,
            attempts == 2,
            "{what}: {}",
            outcome.code
        );
    }
}

#[tokio::test]
async fn a_call_whose_repetition_has_an_effect_is_sent_again_only_if_no_server_has_seen_it() {
    let outcome = call(OPEN).meets(&[Fate::NotSent, Fate::NotSent]).await;
    assert_eq!((outcome.code, outcome.attempts.len()), (Code::Ok, 3));
    for fate in [Fate::Lost, Fate::CutAfter(0), failed(Reason::Draining)] {
        let outcome = call(OPEN).meets(&[fate]).await;
        assert_eq!((outcome.code == Code::Ok, outcome.attempts.len()), (false, 1));
    }
}

#[tokio::test]
async fn a_stream_is_not_repeated_after_its_first_message() {
    let broken = Status::unavailable("");
    for (fate, attempts, messages) in [
        (Fate::FailedAfter(0, broken.clone()), 2, 1),
        (Fate::FailedAfter(2, broken), 1, 2),
        (Fate::CutAfter(0), 2, 1),
        (Fate::CutAfter(2), 1, 2),
    ] {
        let outcome = call(PULL).meets(&[fate]).await;
        assert_eq!((outcome.attempts.len(), outcome.messages), (attempts, messages));
    }
}

#[tokio::test]
async fn a_retry_waits_for_as_long_as_the_server_says() {
    let info = Fate::Failed(
        Failure::new(Reason::RateLimited)
            .retry_after(Duration::from_millis(300))
            .into(),
    );
    let pushback = pushed_back(Status::unavailable(""), "300");
    // The pushback is the library's, and RetryInfo the reader's.
    let both = pushed_back(Failure::new(Reason::DependencyUnavailable), "300");
    for fate in [info, pushback, both] {
        let outcome = call(APPEND).meets(&[fate]).await;
        assert_eq!(outcome.code, Code::Ok);
        let bounds = Duration::from_millis(300)..Duration::from_millis(900);
        assert!(bounds.contains(&outcome.took), "{:?}", outcome.took);
    }
}

#[tokio::test]
async fn a_failure_is_returned_at_once_if_its_retry_would_come_after_the_deadline() {
    let outcome = call(APPEND)
        .timeout("700m")
        .meets(&[failed(Reason::DependencyUnavailable)])
        .await;
    assert_eq!((outcome.code, outcome.attempts.len()), (Code::Unavailable, 1));
    assert!(outcome.took < Duration::from_millis(500), "{:?}", outcome.took);
}

#[tokio::test]
async fn each_attempt_has_the_time_that_is_left_and_the_number_of_attempts_before() {
    let fates = [failed(Reason::Draining), Fate::NotSent, failed(Reason::Draining)];
    let outcome = call(APPEND).timeout("20S").meets(&fates).await;
    let header = |name: &str| {
        let values = outcome.attempts.iter().map(|headers| {
            let value = headers.get(name).map(|value| value.to_str().unwrap());
            value.map(|text| text.trim_end_matches('m').parse::<u32>().unwrap())
        });
        values.collect::<Vec<_>>()
    };
    // The attempt without a connection reached no server.
    assert_eq!(
        header("grpc-previous-rpc-attempts"),
        [None, Some(1), Some(1), Some(2)]
    );
    let left: Vec<u32> = header("grpc-timeout").into_iter().flatten().collect();
    assert_eq!(left.len(), 4);
    assert!(left[0] <= 20_000 && left.is_sorted_by(|a, b| a > b), "{left:?}");
    // Without a deadline, the config has one.
    let outcome = call(APPEND).meets(&[]).await;
    let timeout = outcome.attempts[0]["grpc-timeout"].to_str().unwrap();
    let timeout: u32 = timeout.trim_end_matches('m').parse().unwrap();
    assert!((59_000..=60_000).contains(&timeout), "{timeout}");
}

#[tokio::test]
async fn a_call_has_five_attempts_or_ends_at_its_deadline() {
    let fates = vec![failed(Reason::Draining); 30];
    let outcome = call(APPEND).meets(&fates).await;
    assert_eq!((outcome.code, outcome.attempts.len()), (Code::Unavailable, 5));

    let patient = Call {
        layer: RetryLayer::until_deadline(config()),
        ..call(APPEND).timeout("10S")
    };
    let outcome = patient.meets(&fates).await;
    assert_eq!((outcome.code, outcome.attempts.len()), (Code::Ok, 31));
    let outcome = patient.meets(&vec![failed(Reason::QuotaExceeded); 3]).await;
    assert_eq!(
        (outcome.code, outcome.attempts.len()),
        (Code::ResourceExhausted, 1)
    );

    let hopeless = call(APPEND)
        .timeout("500m")
        .meets(&vec![Fate::NotSent; 100])
        .await;
    assert_eq!(hopeless.code, Code::Unavailable);
    assert!(hopeless.took < Duration::from_millis(800), "{:?}", hopeless.took);
}

#[tokio::test]
async fn calls_of_a_channel_are_not_retried_while_most_of_them_fail() {
    let mut config = config();
    let throttling = config.retry_throttling.as_mut().unwrap();
    (throttling.max_tokens, throttling.token_ratio) = (6, 1.0);
    let call = Call {
        layer: RetryLayer::new(config),
        ..call(APPEND)
    };
    let failures = vec![pushed_back(Status::unavailable(""), "0"); 5];
    // Each failure takes one of six tokens; with three or fewer there is no retry.
    assert_eq!(call.meets(&failures).await.attempts.len(), 3);
    assert_eq!(call.meets(&failures).await.attempts.len(), 1);
    for _ in 0..3 {
        assert_eq!(call.meets(&[]).await.code, Code::Ok);
    }
    assert_eq!(call.meets(&failures).await.attempts.len(), 2);
}
