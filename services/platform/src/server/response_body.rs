//! Response bodies that pass each frame through a function, or end early with a status.

use std::{
    pin::Pin,
    task::{Context, Poll},
};

use axum::body::{Body, Bytes};
use http::HeaderMap;
use http_body::{Frame, SizeHint};
use tonic::Status;

/// The result of polling a response body for its next frame.
pub(super) type PolledFrame = Poll<Option<Result<Frame<Bytes>, axum::Error>>>;

/// Returns the last frame of a stream that must end: trailers with `status`.
pub(super) fn end_with(status: &Status) -> PolledFrame {
    let mut trailers = HeaderMap::new();
    Poll::Ready(Some(match status.add_header(&mut trailers) {
        Ok(()) => Ok(Frame::trailers(trailers)),
        Err(status) => Err(axum::Error::new(status)),
    }))
}

pin_project_lite::pin_project! {
    /// A body that passes each frame through a function. The function's captures live as long as the body.
    pub(super) struct MappedBody<F> {
        #[pin]
        body: Body,
        map: F,
    }
}

impl<F> MappedBody<F> {
    pub(super) fn new(body: Body, map: F) -> Self {
        Self { body, map }
    }
}

impl<F: FnMut(Frame<Bytes>) -> Frame<Bytes>> http_body::Body for MappedBody<F> {
    type Data = Bytes;
    type Error = axum::Error;

    fn poll_frame(
        self: Pin<&mut Self>,
        cx: &mut Context<'_>,
    ) -> Poll<Option<Result<Frame<Bytes>, axum::Error>>> {
        let this = self.project();
        this.body
            .poll_frame(cx)
            .map(|frame| frame.map(|frame| frame.map(this.map)))
    }

    fn is_end_stream(&self) -> bool {
        self.body.is_end_stream()
    }

    fn size_hint(&self) -> SizeHint {
        self.body.size_hint()
    }
}
