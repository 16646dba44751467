//! What the layers do to an answer's body: something to each of its frames, or an end before its time.

use std::{
    pin::Pin,
    task::{Context, Poll},
};

use axum::body::{Body, Bytes};
use http::HeaderMap;
use http_body::{Frame, SizeHint};
use tonic::Status;

/// What a body yields.
pub(super) type PolledFrame = Poll<Option<Result<Frame<Bytes>, axum::Error>>>;

/// The end of a stream that cannot go on: its status, in trailers.
pub(super) fn end_with(status: &Status) -> PolledFrame {
    let mut trailers = HeaderMap::new();
    Poll::Ready(Some(match status.add_header(&mut trailers) {
        Ok(()) => Ok(Frame::trailers(trailers)),
        Err(status) => Err(axum::Error::new(status)),
    }))
}

pin_project_lite::pin_project! {
    /// Passes every frame through a function, which lives as long as the body does.
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
