//! The failures of an attempt, and what they say about a retry.

use std::{
    error::Error,
    pin::Pin,
    task::{Context, Poll},
    time::Duration,
};

use bytes::Bytes;
use http::{HeaderMap, Response};
use http_body::Frame;
use http_body_util::BodyExt as _;
use tonic::{Code, ConnectError, Status, TimeoutExpired, body::Body};
use tonic_types::StatusExt;

/// The trailer with the server's pause before a retry, in milliseconds. A negative one forbids a retry.
const PUSHBACK: &str = "grpc-retry-pushback-ms";

/// The domain of the reasons of Haven's failures.
const DOMAIN: &str = "haven";

/// The failure of an attempt.
#[derive(Debug)]
pub(super) enum Failure {
    /// There was no connection, so no server has seen the request.
    NotSent,
    /// The connection was lost, so a server may have carried the request out.
    Lost,
    /// The deadline passed.
    Late,
    /// A server answered with this status.
    Answered(Box<Status>),
}

/// What a server says about a retry.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Advice {
    /// Nothing: the caller's own backoff applies.
    None,
    /// A retry does not help.
    Never,
    /// A retry can help after this pause.
    After(Duration),
}

impl Failure {
    /// Returns the failure behind an error of the transport.
    pub(super) fn of(error: &(dyn Error + 'static)) -> Self {
        let mut cause = Some(error);
        while let Some(error) = cause {
            if error.is::<ConnectError>() {
                return Self::NotSent;
            }
            if error.is::<TimeoutExpired>() {
                return Self::Late;
            }
            cause = error.source();
        }
        Self::Lost
    }

    /// Returns the code under which a retry policy lists the failure.
    pub(super) fn code(&self) -> Code {
        match self {
            Self::NotSent | Self::Lost => Code::Unavailable,
            Self::Late => Code::DeadlineExceeded,
            Self::Answered(status) => status.code(),
        }
    }

    /// Returns what the server says about a retry.
    pub(super) fn advice(&self) -> Advice {
        match self {
            Self::NotSent | Self::Lost => Advice::None,
            Self::Late => Advice::Never,
            Self::Answered(status) => advice(status),
        }
    }
}

/// Returns what a status says about a retry: its pushback, or else its RetryInfo. A failure of Haven without both is not
/// to be retried.
fn advice(status: &Status) -> Advice {
    if let Some(pushback) = status.metadata().get(PUSHBACK) {
        let millis = pushback.to_str().ok().and_then(|text| text.parse::<i32>().ok());
        // A value that is negative, or not a number, forbids a retry.
        return match millis.and_then(|millis| u64::try_from(millis).ok()) {
            Some(millis) => Advice::After(Duration::from_millis(millis)),
            None => Advice::Never,
        };
    }
    let from_haven = status
        .get_details_error_info()
        .is_some_and(|info| info.domain == DOMAIN);
    match status.get_details_retry_info().and_then(|info| info.retry_delay) {
        Some(delay) => Advice::After(delay),
        None if from_haven => Advice::Never,
        None => Advice::None,
    }
}

/// Waits for the beginning of a response: its first message, or its end. Returns the response as it came, and its failure
/// if it has no message.
pub(super) async fn begin<B>(response: Response<B>) -> (Response<Body>, Option<Failure>)
where
    B: http_body::Body<Data = Bytes> + Send + Unpin + 'static,
    B::Error: Into<Box<dyn Error + Send + Sync>>,
{
    if let Some(status) = failed(response.headers()) {
        return (response.map(Body::new), Some(Failure::Answered(status)));
    }
    let (parts, mut body) = response.into_parts();
    let (first, failure) = match body.frame().await {
        Some(Ok(frame)) => {
            let status = frame.trailers_ref().and_then(failed);
            (Ok(frame), status.map(Failure::Answered))
        }
        Some(Err(error)) => (Err(Status::from_error(error.into())), Some(Failure::Lost)),
        // A response without trailers was cut off.
        None => {
            let status = Status::unavailable("the connection was lost before the response");
            (Err(status), Some(Failure::Lost))
        }
    };
    let body = Body::new(Begun {
        first: Some(first),
        rest: Body::new(body),
    });
    (Response::from_parts(parts, body), failure)
}

/// Returns the status in headers or trailers if it is a failure.
fn failed(headers: &HeaderMap) -> Option<Box<Status>> {
    Status::from_header_map(headers)
        .filter(|status| status.code() != Code::Ok)
        .map(Box::new)
}

/// A response body after its first frame was read.
struct Begun {
    first: Option<Result<Frame<Bytes>, Status>>,
    rest: Body,
}

impl http_body::Body for Begun {
    type Data = Bytes;
    type Error = Status;

    fn poll_frame(
        mut self: Pin<&mut Self>,
        cx: &mut Context<'_>,
    ) -> Poll<Option<Result<Frame<Bytes>, Status>>> {
        match self.first.take() {
            Some(first) => Poll::Ready(Some(first)),
            None => Pin::new(&mut self.rest).poll_frame(cx),
        }
    }

    fn is_end_stream(&self) -> bool {
        self.first.is_none() && self.rest.is_end_stream()
    }
}
