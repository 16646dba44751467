//! Time limits: the deadline of a call is its caller's or the configured one, at most a minute. That of a stream is its
//! caller's, at most ten minutes for one that ends, and an hour for one that stays open. A stream of requests has ten minutes too.
//!
//! tonic answers CANCELLED when a unary call's deadline passes, and lets a stream continue; here both end with
//! DEADLINE_EXCEEDED. The body of a request has a short limit of its own, because a call holds its places while it waits for
//! its request. In a stream of requests the limit is for each wait of the server.

use std::{
    pin::Pin,
    sync::Arc,
    task::{Context, Poll},
    time::Duration,
};

use axum::{
    body::{Body, Bytes},
    extract::Request,
    response::Response,
};
use tokio::time::{Instant, Sleep, sleep_until, timeout_at};
use tonic::Status;

use super::{
    layer::{Chain, Next},
    response_body::{PolledFrame, end_with},
};
use crate::{
    access::{AccessTable, ResponseKind},
    deadline::{Deadline, MAX_CALL, MAX_STREAM, MAX_WATCH, minus_reserve, parse_grpc_timeout},
    failure::Failure,
    reason::Reason,
};

/// The time limits of the server's RPCs.
#[derive(Clone)]
pub(super) struct TimeLimits {
    access: AccessTable,
    default: Duration,
    request_body: Duration,
}

impl TimeLimits {
    /// Creates the limits for the RPCs of `access`. `default` applies to a unary call without a deadline. A request must have
    /// arrived within `request_body`.
    pub(super) fn new(access: AccessTable, default: Duration, request_body: Duration) -> Self {
        Self {
            access,
            default,
            request_body,
        }
    }

    /// Returns the time limit of a call without a deadline to the RPC at `path`, and the maximum.
    fn for_path(&self, path: &str) -> (Duration, Duration) {
        match self.access.find(path).map(|rpc| (rpc.response, rpc.uploads)) {
            Some((ResponseKind::Watch, _)) => (MAX_WATCH, MAX_WATCH),
            Some((ResponseKind::Stream, _) | (_, true)) => (MAX_STREAM, MAX_STREAM),
            Some((ResponseKind::Message, false)) | None => (self.default, MAX_CALL),
        }
    }

    /// Returns whether the request of the RPC at `path` is a stream of messages.
    fn is_upload(&self, path: &str) -> bool {
        self.access.find(path).is_some_and(|rpc| rpc.uploads)
    }
}

/// The layer: puts the [`Deadline`] into the request, and ends the call or stream when it passes.
pub(super) async fn enforce_deadline<C: Chain>(
    limits: Arc<TimeLimits>,
    mut request: Request,
    next: Next<C>,
) -> Response {
    let (default, longest) = limits.for_path(request.uri().path());
    let timeout = match request.headers().get("grpc-timeout") {
        None => default,
        Some(value) => match value.to_str().ok().and_then(parse_grpc_timeout) {
            Some(timeout) => minus_reserve(timeout.min(longest)),
            None => {
                let failure = Failure::field(
                    "grpc-timeout",
                    "MALFORMED",
                    "grpc-timeout must be up to eight digits and a unit",
                );
                return Status::from(failure).into_http();
            }
        },
    };
    // No work is done for a response that the caller no longer waits for.
    if timeout.is_zero() {
        return deadline_passed().into_http();
    }
    let deadline = Deadline::after(timeout);
    request.extensions_mut().insert(deadline);
    let is_upload = limits.is_upload(request.uri().path());
    let request = request.map(|body| {
        Body::new(ArrivingBody {
            body,
            limit: limits.request_body,
            until: (!is_upload).then(|| Instant::now() + limits.request_body),
            timer: None,
            ended: false,
        })
    });
    match timeout_at(deadline.instant(), next.run(request)).await {
        Ok(response) => response.map(|body| {
            Body::new(TimedBody {
                body: Some(body),
                deadline,
                timer: None,
            })
        }),
        Err(_) => deadline_passed().into_http(),
    }
}

fn deadline_passed() -> Status {
    Failure::new(Reason::Deadline).into()
}

/// A request's body, which fails when it has not arrived in time.
struct ArrivingBody {
    body: Body,
    limit: Duration,
    /// The time until which the whole body must have arrived; `None` for a stream of requests.
    until: Option<Instant>,
    /// `None` while the server does not wait. Most requests have arrived with their headers, and need none.
    timer: Option<Pin<Box<Sleep>>>,
    ended: bool,
}

impl http_body::Body for ArrivingBody {
    type Data = Bytes;
    type Error = axum::Error;

    fn poll_frame(mut self: Pin<&mut Self>, cx: &mut Context<'_>) -> PolledFrame {
        let this = &mut *self;
        if this.ended {
            return Poll::Ready(None);
        }
        // A body that arrives in many small parts has something at each poll, so the time counts first.
        if this.until.is_none_or(|until| Instant::now() < until) {
            if let Poll::Ready(frame) = Pin::new(&mut this.body).poll_frame(cx) {
                if this.until.is_none() {
                    // The time in which the server performs what has arrived does not count.
                    this.timer = None;
                }
                return Poll::Ready(frame);
            }
            let until = || this.until.unwrap_or_else(|| Instant::now() + this.limit);
            let timer = this.timer.get_or_insert_with(|| Box::pin(sleep_until(until())));
            if timer.as_mut().poll(cx).is_pending() {
                return Poll::Pending;
            }
        }
        this.ended = true;
        let failure =
            Failure::new(Reason::ClientTooSlow).because("the request did not arrive in REQUEST_BODY_TIMEOUT");
        Poll::Ready(Some(Err(axum::Error::new(Status::from(failure)))))
    }

    fn is_end_stream(&self) -> bool {
        self.ended || self.body.is_end_stream()
    }

    fn size_hint(&self) -> http_body::SizeHint {
        self.body.size_hint()
    }
}

/// A response's body, which ends with a status when the deadline passes. An answer with one message is complete by then.
struct TimedBody {
    /// `None` after the deadline.
    body: Option<Body>,
    deadline: Deadline,
    /// `None` until the body has to be waited for.
    timer: Option<Pin<Box<Sleep>>>,
}

impl http_body::Body for TimedBody {
    type Data = Bytes;
    type Error = axum::Error;

    fn poll_frame(mut self: Pin<&mut Self>, cx: &mut Context<'_>) -> PolledFrame {
        let this = &mut *self;
        let Some(body) = &mut this.body else {
            return Poll::Ready(None);
        };
        if let Poll::Ready(frame) = Pin::new(body).poll_frame(cx) {
            return Poll::Ready(frame);
        }
        let deadline = this.deadline.instant();
        let timer = this.timer.get_or_insert_with(|| Box::pin(sleep_until(deadline)));
        if timer.as_mut().poll(cx).is_pending() {
            return Poll::Pending;
        }
        this.body = None;
        end_with(&deadline_passed())
    }

    fn is_end_stream(&self) -> bool {
        self.body.as_ref().is_none_or(http_body::Body::is_end_stream)
    }

    fn size_hint(&self) -> http_body::SizeHint {
        self.body
            .as_ref()
            .map(http_body::Body::size_hint)
            .unwrap_or_default()
    }
}

#[cfg(test)]
mod tests {
    use axum::Router;
    use tower::{ServiceExt, layer::layer_fn};

    use super::{
        super::layer::{End, Entry, Layer},
        *,
    };

    const WATCH: &str = "/haven.test.v1.TestService/WatchItems";
    const EXPORT: &str = "/haven.test.v1.TestService/ExportItems";
    const UPLOAD: &str = AccessTable::UPLOAD;
    const LIST: &str = "/haven.test.v1.TestService/ListItems";

    fn limits() -> TimeLimits {
        let access = AccessTable::for_tests([
            (WATCH, ResponseKind::Watch),
            (EXPORT, ResponseKind::Stream),
            (LIST, ResponseKind::Message),
            (UPLOAD, ResponseKind::Message),
        ]);
        TimeLimits::new(access, Duration::from_secs(1), Duration::from_secs(1))
    }

    #[test]
    fn a_stream_may_take_longer_than_a_unary_call() {
        let minutes = |minutes: u64| Duration::from_secs(minutes * 60);
        assert_eq!(limits().for_path(WATCH), (minutes(60), minutes(60)));
        assert_eq!(limits().for_path(EXPORT), (minutes(10), minutes(10)));
        assert_eq!(limits().for_path(UPLOAD), (minutes(10), minutes(10)));
        let answer = (Duration::from_secs(1), Duration::from_secs(60));
        for path in [LIST, "/nothing"] {
            assert_eq!(limits().for_path(path), answer, "{path}");
        }
    }

    /// One body arrives in many small parts, the other stops.
    #[tokio::test]
    async fn a_request_that_arrives_slowly_fails_with_deadline() {
        for pause in [Duration::from_millis(10), Duration::from_secs(3600)] {
            let parts = futures_util::stream::unfold((), move |()| async move {
                tokio::time::sleep(pause).await;
                Some((Ok::<_, axum::Error>(Bytes::from_static(b"x")), ()))
            });
            let mut body = ArrivingBody {
                body: Body::from_stream(parts),
                limit: Duration::from_millis(200),
                until: Some(Instant::now() + Duration::from_millis(200)),
                timer: None,
                ended: false,
            };
            let began = Instant::now();
            let failed = loop {
                let frame =
                    std::future::poll_fn(|cx| http_body::Body::poll_frame(Pin::new(&mut body), cx)).await;
                if let Err(error) = frame.unwrap() {
                    break error;
                }
            };
            let status = Status::from_error(failed.into());
            assert_eq!(status.code(), tonic::Code::DeadlineExceeded);
            assert!(began.elapsed() >= Duration::from_millis(200));
        }
    }

    /// The server takes longer than the limit for a part; the third part does not come.
    #[tokio::test]
    async fn a_stream_of_requests_has_the_limit_for_each_wait() {
        let parts = futures_util::stream::unfold(0, |count| async move {
            let pause = if count < 3 { 100 } else { 3_600_000 };
            tokio::time::sleep(Duration::from_millis(pause)).await;
            Some((Ok::<_, axum::Error>(Bytes::from_static(b"x")), count + 1))
        });
        let mut body = ArrivingBody {
            body: Body::from_stream(parts),
            limit: Duration::from_millis(300),
            until: None,
            timer: None,
            ended: false,
        };
        let mut next =
            async || std::future::poll_fn(|cx| http_body::Body::poll_frame(Pin::new(&mut body), cx)).await;
        for _ in 0..3 {
            assert!(next().await.unwrap().is_ok());
            tokio::time::sleep(Duration::from_millis(400)).await;
        }
        let status = Status::from_error(next().await.unwrap().unwrap_err().into());
        assert_eq!(status.code(), tonic::Code::DeadlineExceeded);
        assert!(next().await.is_none());
    }

    /// Calls the layer directly, because every client has its own timer, which would fire first.
    #[tokio::test]
    async fn no_work_is_done_when_the_deadline_has_passed() {
        let router = Router::new()
            .fallback(|| async { Err::<(), &str>("the handler was called") })
            .layer(layer_fn(|route| {
                Entry::new(Layer::new(Arc::new(limits()), enforce_deadline, End::new(route)))
            }));
        let request = Request::builder()
            .header("grpc-timeout", "1n")
            .body(Body::empty())
            .unwrap();
        let response = router.oneshot(request).await.unwrap();
        let status = Status::from_header_map(response.headers()).unwrap();
        assert_eq!(status.code(), tonic::Code::DeadlineExceeded);
    }
}
