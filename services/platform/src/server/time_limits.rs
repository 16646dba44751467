//! The deadline of a call: its caller's, or the configured one, and a minute at most. A stream has its caller's too: one
//! that ends ten minutes at most, and one that goes on an hour.
//!
//! tonic answers CANCELLED for a unary call past its deadline, and lets a stream run on; here both end with
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

use super::body::{PolledFrame, end_with};
use crate::{
    access::{AccessTable, ResponseKind},
    deadline::{Deadline, MAX_CALL, MAX_STREAM, MAX_WATCH, minus_reserve, parse_grpc_timeout},
    failure::Failure,
    reason::Reason,
};

/// How long calls may take.
#[derive(Clone)]
pub(super) struct TimeLimits {
    access: AccessTable,
    default: Duration,
}

impl TimeLimits {
    /// For the RPCs of `access`: `default` where the caller says nothing.
    pub(super) fn new(access: AccessTable, default: Duration) -> Self {
        Self { access, default }
    }

    /// Whether a call is answered by a stream; and how long one without a deadline, and any at all, may take.
    fn of(&self, path: &str) -> (bool, Duration, Duration) {
        match self.access.find(path).map(|rpc| rpc.response) {
            Some(ResponseKind::Watch) => (true, MAX_WATCH, MAX_WATCH),
            Some(ResponseKind::Stream) => (true, MAX_STREAM, MAX_STREAM),
            Some(ResponseKind::Message) | None => (false, self.default, MAX_CALL),
        }
    }
}

pub(super) async fn enforce_deadline(
    State(limits): State<TimeLimits>,
    mut request: Request,
    next: Next,
) -> Response {
    let (streams, default, longest) = limits.of(request.uri().path());
    let timeout = match request.headers().get("grpc-timeout") {
        None => default,
        Some(value) => match value.to_str().ok().and_then(parse_grpc_timeout) {
            Some(timeout) => minus_reserve(timeout.min(longest)),
            None => {
                let failure = Failure::field(
                    "grpc-timeout",
                    "MALFORMED",
                    "The header is up to eight digits and a unit",
                );
                return Status::from(failure).into_http();
            }
        },
    };
    // No work for an answer that nobody waits for.
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

/// For how long after its time a stream is left to end by itself.
const GRACE: Duration = Duration::from_secs(1);

/// Lets go of a stream's inside, and of the place that it takes, once its time is long over: while its client does not
/// read, nobody asks the stream for more, and it would not notice.
fn drop_unread(body: Arc<Mutex<Option<Body>>>, deadline: Deadline) -> AbortOnDropHandle<()> {
    AbortOnDropHandle::new(tokio::spawn(async move {
        sleep_until(deadline.instant() + GRACE).await;
        *body.lock().unwrap_or_else(PoisonError::into_inner) = None;
    }))
}

/// A stream that ends with a status when its time is over.
struct TimedBody {
    /// None once the time is over.
    body: Arc<Mutex<Option<Body>>>,
    timer: Pin<Box<Sleep>>,
    /// Whether it has said why it ended.
    ended: bool,
    /// Ends with the stream.
    _unread: Option<AbortOnDropHandle<()>>,
}

impl TimedBody {
    fn body(&self) -> MutexGuard<'_, Option<Body>> {
        // What panicked while it was asked is asked no more: the guard of panics ends it.
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
    fn a_stream_may_take_longer_than_an_answer() {
        let minutes = |minutes: u64| Duration::from_secs(minutes * 60);
        assert_eq!(limits().of(WATCH), (true, minutes(60), minutes(60)));
        assert_eq!(limits().of(EXPORT), (true, minutes(10), minutes(10)));
        let answer = (false, Duration::from_secs(1), Duration::from_secs(60));
        for path in [LIST, "/nothing"] {
            assert_eq!(limits().of(path), answer, "{path}");
        }
    }

    /// Its client does not read, so nobody asks for its frames.
    #[tokio::test]
    async fn a_stream_that_nobody_reads_lets_go_of_its_inside() {
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
        .expect("it lets go");
        // Asked again at last, it says why it ended.
        let mut body = response.into_body();
        let last = std::future::poll_fn(|cx| http_body::Body::poll_frame(Pin::new(&mut body), cx)).await;
        let trailers = last.unwrap().unwrap().into_trailers().unwrap();
        let status = Status::from_header_map(&trailers).unwrap();
        assert_eq!(status.code(), tonic::Code::DeadlineExceeded);
    }

    /// Not through a client: every one has a timer of its own, which would answer first.
    #[tokio::test]
    async fn no_work_is_begun_for_a_deadline_that_has_passed() {
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
