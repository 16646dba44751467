//! Time limits: the deadline of a call is its caller's or the configured one, at most a minute. That of a stream is its
//! caller's, at most ten minutes for one that ends, and an hour for one that stays open.
//!
//! tonic answers CANCELLED when a unary call's deadline passes, and lets a stream continue; here both end with
//! DEADLINE_EXCEEDED.

use std::{
    pin::Pin,
    sync::{Arc, Mutex, MutexGuard, PoisonError},
    task::{Context, Poll},
    time::Duration,
};

use axum::{
    body::{Body, Bytes},
    extract::{Request, State},
    middleware::Next,
    response::Response,
};
use tokio::time::{Sleep, sleep_until, timeout_at};
use tokio_util::task::AbortOnDropHandle;
use tonic::Status;

use super::response_body::{PolledFrame, end_with};
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
}

impl TimeLimits {
    /// Creates the limits for the RPCs of `access`. `default` applies to a unary call without a deadline.
    pub(super) fn new(access: AccessTable, default: Duration) -> Self {
        Self { access, default }
    }

    /// Returns whether the RPC at `path` answers with a stream, the time limit of a call without a deadline, and the
    /// maximum.
    fn for_path(&self, path: &str) -> (bool, Duration, Duration) {
        match self.access.find(path).map(|rpc| rpc.response) {
            Some(ResponseKind::Watch) => (true, MAX_WATCH, MAX_WATCH),
            Some(ResponseKind::Stream) => (true, MAX_STREAM, MAX_STREAM),
            Some(ResponseKind::Message) | None => (false, self.default, MAX_CALL),
        }
    }
}

/// The layer: puts the [`Deadline`] into the request, and ends the call or stream when it passes.
pub(super) async fn enforce_deadline(
    State(limits): State<TimeLimits>,
    mut request: Request,
    next: Next,
) -> Response {
    let (streams, default, longest) = limits.for_path(request.uri().path());
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
    match timeout_at(deadline.instant(), next.run(request)).await {
        Ok(response) => {
            let timer = Box::pin(sleep_until(deadline.instant()));
            response.map(|body| {
                let body = Arc::new(Mutex::new(Some(body)));
                let unread = streams.then(|| drop_unread(Arc::clone(&body), deadline));
                Body::new(TimedBody {
                    body,
                    timer,
                    ended: false,
                    _unread: unread,
                })
            })
        }
        Err(_) => deadline_passed().into_http(),
    }
}

fn deadline_passed() -> Status {
    Failure::new(Reason::Deadline).into()
}

/// The time after its deadline in which a stream can still end by itself.
const GRACE: Duration = Duration::from_secs(1);

/// Drops a stream's inner body, and with it the permits that it holds, some time after its deadline. While its client
/// does not read, the stream is not polled, so it cannot notice the deadline itself.
fn drop_unread(body: Arc<Mutex<Option<Body>>>, deadline: Deadline) -> AbortOnDropHandle<()> {
    AbortOnDropHandle::new(tokio::spawn(async move {
        sleep_until(deadline.instant() + GRACE).await;
        *body.lock().unwrap_or_else(PoisonError::into_inner) = None;
    }))
}

/// A stream that ends with a status when its deadline passes.
struct TimedBody {
    /// `None` after the deadline.
    body: Arc<Mutex<Option<Body>>>,
    timer: Pin<Box<Sleep>>,
    /// True after the final status was sent.
    ended: bool,
    /// The task that drops an unread stream; aborted when the stream is dropped.
    _unread: Option<AbortOnDropHandle<()>>,
}

impl TimedBody {
    fn body(&self) -> MutexGuard<'_, Option<Body>> {
        // After a panic the body is not polled again: the layer for panics ends the stream.
        self.body.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

impl http_body::Body for TimedBody {
    type Data = Bytes;
    type Error = axum::Error;

    fn poll_frame(mut self: Pin<&mut Self>, cx: &mut Context<'_>) -> PolledFrame {
        if self.ended {
            return Poll::Ready(None);
        }
        let frame = self.body().as_mut().map(|body| Pin::new(body).poll_frame(cx));
        if let Some(Poll::Ready(frame)) = frame {
            return Poll::Ready(frame);
        }
        if self.timer.as_mut().poll(cx).is_pending() {
            return Poll::Pending;
        }
        self.ended = true;
        *self.body() = None;
        end_with(&deadline_passed())
    }

    fn is_end_stream(&self) -> bool {
        self.ended || self.body().as_ref().is_some_and(http_body::Body::is_end_stream)
    }

    fn size_hint(&self) -> http_body::SizeHint {
        self.body()
            .as_ref()
            .map(http_body::Body::size_hint)
            .unwrap_or_default()
    }
}

#[cfg(test)]
mod tests {
    use axum::{Router, middleware::from_fn_with_state};
    use tower::ServiceExt;

    use super::*;

    const WATCH: &str = "/haven.test.v1.TestService/WatchItems";
    const EXPORT: &str = "/haven.test.v1.TestService/ExportItems";
    const LIST: &str = "/haven.test.v1.TestService/ListItems";

    fn limits() -> TimeLimits {
        let access = AccessTable::for_tests([
            (WATCH, ResponseKind::Watch),
            (EXPORT, ResponseKind::Stream),
            (LIST, ResponseKind::Message),
        ]);
        TimeLimits::new(access, Duration::from_secs(1))
    }

    #[test]
    fn a_stream_may_take_longer_than_a_unary_call() {
        let minutes = |minutes: u64| Duration::from_secs(minutes * 60);
        assert_eq!(limits().for_path(WATCH), (true, minutes(60), minutes(60)));
        assert_eq!(limits().for_path(EXPORT), (true, minutes(10), minutes(10)));
        let answer = (false, Duration::from_secs(1), Duration::from_secs(60));
        for path in [LIST, "/nothing"] {
            assert_eq!(limits().for_path(path), answer, "{path}");
        }
    }

    /// The client does not read, so the body is not polled.
    #[tokio::test]
    async fn an_unread_stream_drops_its_inner_body_after_the_deadline() {
        let inside = Arc::new(());
        let held = Arc::clone(&inside);
        let router = Router::new()
            .fallback(move || async move {
                Body::from_stream(futures_util::stream::once(async move {
                    let _held = held;
                    std::future::pending::<Result<Bytes, axum::Error>>().await
                }))
            })
            .layer(from_fn_with_state(limits(), enforce_deadline));
        let request = Request::builder()
            .uri(WATCH)
            .header("grpc-timeout", "50m")
            .body(Body::empty())
            .unwrap();
        let response = router.oneshot(request).await.unwrap();
        assert_eq!(Arc::strong_count(&inside), 2);
        tokio::time::timeout(GRACE * 10, async {
            while Arc::strong_count(&inside) == 2 {
                tokio::time::sleep(Duration::from_millis(10)).await;
            }
        })
        .await
        .expect("the inner body is dropped");
        // A client that reads at last gets the status.
        let mut body = response.into_body();
        let last = std::future::poll_fn(|cx| http_body::Body::poll_frame(Pin::new(&mut body), cx)).await;
        let trailers = last.unwrap().unwrap().into_trailers().unwrap();
        let status = Status::from_header_map(&trailers).unwrap();
        assert_eq!(status.code(), tonic::Code::DeadlineExceeded);
    }

    /// Calls the layer directly, because every client has its own timer, which would fire first.
    #[tokio::test]
    async fn no_work_is_done_when_the_deadline_has_passed() {
        let router = Router::new()
            .fallback(|| async { Err::<(), &str>("the handler was called") })
            .layer(from_fn_with_state(limits(), enforce_deadline));
        let request = Request::builder()
            .header("grpc-timeout", "1n")
            .body(Body::empty())
            .unwrap();
        let response = router.oneshot(request).await.unwrap();
        let status = Status::from_header_map(response.headers()).unwrap();
        assert_eq!(status.code(), tonic::Code::DeadlineExceeded);
    }
}
