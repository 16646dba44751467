//! Answers INTERNAL when a handler panics. Without this layer the stream is reset, and the caller gets no status.

use std::{
    panic::{AssertUnwindSafe, catch_unwind},
    pin::Pin,
    task::{Context, Poll},
};

use axum::{
    body::{Body, Bytes},
    extract::Request,
    response::Response,
};
use futures_util::FutureExt;
use tonic::Status;

use super::{
    layer::{Chain, Next},
    response_body::{PolledFrame, end_with},
};
use crate::failure::Failure;

/// The layer: catches panics of the handler and of its response stream.
pub(super) async fn catch_panics<C: Chain>(_: (), request: Request, next: Next<C>) -> Response {
    // A handler's state is its own, or is safe to share (pools, atomics), so no partial change is visible afterwards.
    match AssertUnwindSafe(next.run(request)).catch_unwind().await {
        Ok(response) => response.map(|body| Body::new(GuardedBody { body: Some(body) })),
        Err(_) => panicked().into_http(),
    }
}

fn panicked() -> Status {
    metrics::counter!("haven_panics_total").increment(1);
    Failure::internal("a handler panicked; the log line before has the location").into()
}

/// A body that ends with a status when its stream panics.
struct GuardedBody {
    /// `None` after a panic.
    body: Option<Body>,
}

impl http_body::Body for GuardedBody {
    type Data = Bytes;
    type Error = axum::Error;

    fn poll_frame(mut self: Pin<&mut Self>, cx: &mut Context<'_>) -> PolledFrame {
        let Some(body) = &mut self.body else {
            return Poll::Ready(None);
        };
        if let Ok(polled) = catch_unwind(AssertUnwindSafe(|| Pin::new(body).poll_frame(cx))) {
            return polled;
        }
        self.body = None;
        end_with(&panicked())
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
