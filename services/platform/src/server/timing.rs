//! The deadline of a call: its caller's, or the configured one.
//!
//! tonic answers CANCELLED for a unary call past its deadline, and lets a stream run on; here both end with
//! DEADLINE_EXCEEDED.

use std::{
    pin::Pin,
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
use tonic::Status;

use super::body::{Yielded, end_with};
use crate::{
    deadline::{Deadline, parse_grpc_timeout, shave},
    failure::Failure,
    reason::Reason,
};

pub(super) async fn bound(State(default): State<Duration>, mut request: Request, next: Next) -> Response {
    let timeout = match request.headers().get("grpc-timeout") {
        None => default,
        Some(value) => match value.to_str().ok().and_then(parse_grpc_timeout) {
            Some(timeout) => shave(timeout),
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
        return passed().into_http();
    }
    let deadline = Deadline::after(timeout);
    request.extensions_mut().insert(deadline);
    match timeout_at(deadline.instant(), next.run(request)).await {
        Ok(response) => {
            let timer = Box::pin(sleep_until(deadline.instant()));
            response.map(|body| {
                Body::new(TimedBody {
                    body: Some(body),
                    timer,
                })
            })
        }
        Err(_) => passed().into_http(),
    }
}

fn passed() -> Status {
    Failure::new(Reason::Deadline).into()
}

/// A stream that ends with a status when its time is over.
struct TimedBody {
    /// None once the time is over.
    body: Option<Body>,
    timer: Pin<Box<Sleep>>,
}

impl http_body::Body for TimedBody {
    type Data = Bytes;
    type Error = axum::Error;

    fn poll_frame(mut self: Pin<&mut Self>, cx: &mut Context<'_>) -> Yielded {
        let Some(body) = &mut self.body else {
            return Poll::Ready(None);
        };
        if let Poll::Ready(frame) = Pin::new(body).poll_frame(cx) {
            return Poll::Ready(frame);
        }
        if self.timer.as_mut().poll(cx).is_pending() {
            return Poll::Pending;
        }
        self.body = None;
        end_with(&passed())
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
    use axum::{Router, middleware::from_fn_with_state};
    use tower::ServiceExt;

    use super::*;

    /// Not through a client: every one has a timer of its own, which would answer first.
    #[tokio::test]
    async fn no_work_is_begun_for_a_deadline_that_has_passed() {
        let router = Router::new()
            .fallback(|| async { Err::<(), &str>("the handler was called") })
            .layer(from_fn_with_state(Duration::from_secs(1), bound));
        let request = Request::builder()
            .header("grpc-timeout", "1n")
            .body(Body::empty())
            .unwrap();
        let response = router.oneshot(request).await.unwrap();
        let status = Status::from_header_map(response.headers()).unwrap();
        assert_eq!(status.code(), tonic::Code::DeadlineExceeded);
    }
}
