//! Unread answers: an answer that its client does not read is dropped after some seconds, with the places that it holds.
//!
//! hyper polls a body on only after the client gave a window for the part before, so a body cannot notice by itself that it is
//! not read. Each connection looks at its open answers now and then (`connection`). A watch without news is not unread: its body was polled,
//! and had nothing to send.

use std::{
    pin::Pin,
    sync::Arc,
    task::{Context, Poll, ready},
    time::Duration,
};

use axum::{
    body::{Body, Bytes},
    extract::Request,
    response::Response,
};
use http::HeaderMap;
use http_body::Frame;
use tonic::Status;

use super::{
    connection::Connection,
    error_contract,
    from_browser::FromBrowser,
    layer::{Chain, Next},
    open_answer::OpenAnswer,
    request_log::{REQUEST_ID, RequestId},
    response_body::PolledFrame,
};
use crate::{
    access::{AccessTable, ResponseKind},
    failure::Failure,
    reason::Reason,
};

/// The time for which the next part of an answer with one message may wait for its client.
const UNREAD_MESSAGE: Duration = Duration::from_secs(5);

/// The time for which the next part of a stream may wait for its client.
const UNREAD_STREAM: Duration = Duration::from_secs(20);

/// The largest part of an answer that is given to HTTP/2 at once. hyper and HTTP/2 keep what they were given, also without a
/// window, and also after the answer was dropped.
const PART: usize = 16 * 1024;

/// The reason why a stream is reset in place of a status.
#[derive(Debug, thiserror::Error)]
#[error("the client did not read the answer")]
struct Torn;

/// The layer: drops the answer when it is not read.
pub(super) async fn drop_unread<C: Chain>(access: AccessTable, request: Request, next: Next<C>) -> Response {
    let Some(connection) = request.extensions().get::<Connection>().cloned() else {
        // Only tests of other layers make requests without a connection.
        return next.run(request).await;
    };
    let longest = match access.find(request.uri().path()).map(|rpc| rpc.response) {
        Some(ResponseKind::Watch | ResponseKind::Stream) => UNREAD_STREAM,
        Some(ResponseKind::Message) | None => UNREAD_MESSAGE,
    };
    let is_web = FromBrowser::of(&request).is_some();
    let response = next.run(request).await;
    if http_body::Body::is_end_stream(response.body()) {
        return response;
    }
    let request_id = response.headers().get(&REQUEST_ID).and_then(RequestId::parse);
    response.map(|body| Body::new(ReadBody::new(body, connection, longest, request_id, is_web)))
}

/// A body that notes when its client takes the next part.
struct ReadBody {
    answer: Arc<OpenAnswer>,
    number: u64,
    connection: Connection,
    request_id: Option<RequestId>,
    /// Whether the answer is translated to gRPC-Web, where the status is a message of the body.
    is_web: bool,
    ended: bool,
}

impl ReadBody {
    fn new(
        body: Body,
        connection: Connection,
        longest: Duration,
        request_id: Option<RequestId>,
        is_web: bool,
    ) -> Self {
        let answer = Arc::new(OpenAnswer::new(body, longest));
        Self {
            number: connection.add(&answer),
            answer,
            connection,
            request_id,
            is_web,
            ended: false,
        }
    }

    /// Returns the status of an answer that was dropped before its client read on.
    fn unread(&self) -> PolledFrame {
        let failure = Failure::new(Reason::ClientTooSlow).because("the client did not read the answer");
        let mut trailers = HeaderMap::new();
        if let Err(status) = Status::from(failure).add_header(&mut trailers) {
            return Poll::Ready(Some(Err(axum::Error::new(status))));
        }
        error_contract::complete_headers(&mut trailers, self.request_id, None);
        Poll::Ready(Some(Ok(Frame::trailers(trailers))))
    }
}

impl http_body::Body for ReadBody {
    type Data = Bytes;
    type Error = axum::Error;

    fn poll_frame(mut self: Pin<&mut Self>, cx: &mut Context<'_>) -> PolledFrame {
        let this = &mut *self;
        if this.ended {
            return Poll::Ready(None);
        }
        let mut unsent = this.answer.unsent();
        if !unsent.rest.is_empty() {
            return Poll::Ready(Some(Ok(Frame::data(unsent.next_part(PART)))));
        }
        let Some(body) = unsent.body.as_mut() else {
            let is_torn = unsent.is_torn;
            drop(unsent);
            this.ended = true;
            // Within a message, a page would read the status as the rest of it.
            if is_torn && this.is_web {
                return Poll::Ready(Some(Err(axum::Error::new(Torn))));
            }
            return this.unread();
        };
        // There is no next part while the body has none.
        let polled = Pin::new(body).poll_frame(cx);
        unsent.took(polled.is_ready());
        let Some(frame) = ready!(polled) else {
            this.ended = true;
            return Poll::Ready(None);
        };
        let frame = match frame?.into_data() {
            Ok(data) => {
                unsent.rest = data;
                Frame::data(unsent.next_part(PART))
            }
            Err(frame) => {
                drop(unsent);
                this.ended = true;
                return Poll::Ready(Some(Ok(frame)));
            }
        };
        Poll::Ready(Some(Ok(frame)))
    }

    fn is_end_stream(&self) -> bool {
        let unsent = self.answer.unsent();
        self.ended
            || (unsent.rest.is_empty() && unsent.body.as_ref().is_some_and(http_body::Body::is_end_stream))
    }

    fn size_hint(&self) -> http_body::SizeHint {
        let unsent = self.answer.unsent();
        match &unsent.body {
            Some(body) if unsent.rest.is_empty() => body.size_hint(),
            _ => http_body::SizeHint::default(),
        }
    }
}

impl Drop for ReadBody {
    fn drop(&mut self) {
        self.connection.remove(self.number);
    }
}

#[cfg(test)]
mod tests {
    use futures_util::{StreamExt, stream};
    use tokio::time::Instant;

    use super::*;

    /// A body that holds `held` and sends `messages`, and then nothing more.
    fn body(messages: usize, size: usize, held: &Arc<()>) -> Body {
        let held = Arc::clone(held);
        let message = Bytes::from(vec![7; size]);
        let messages = stream::iter(vec![message; messages]).chain(stream::pending());
        Body::from_stream(messages.map(move |message| {
            let _held = &held;
            Ok::<_, axum::Error>(message)
        }))
    }

    fn answer(connection: &Connection, body: Body, longest: Duration) -> ReadBody {
        ReadBody::new(body, connection.clone(), longest, None, false)
    }

    async fn next(body: &mut ReadBody) -> Frame<Bytes> {
        let frame = std::future::poll_fn(|cx| http_body::Body::poll_frame(Pin::new(&mut *body), cx)).await;
        frame.unwrap().unwrap()
    }

    fn is_pending(body: &mut ReadBody) -> bool {
        let mut cx = Context::from_waker(std::task::Waker::noop());
        http_body::Body::poll_frame(Pin::new(body), &mut cx).is_pending()
    }

    #[tokio::test]
    async fn an_unread_answer_is_dropped_and_an_idle_one_is_not() {
        let connection = Connection::new(1, None, None);
        let (unread, idle) = (Arc::new(()), Arc::new(()));
        let mut never_polled = answer(&connection, body(1, 10, &unread), UNREAD_MESSAGE);
        let mut half_read = answer(&connection, body(2, 10, &unread), UNREAD_STREAM);
        let mut watch = answer(&connection, body(1, 10, &idle), UNREAD_STREAM);
        assert!(next(&mut half_read).await.is_data());
        // The last byte is a part of its own.
        assert!(next(&mut watch).await.is_data());
        assert!(next(&mut watch).await.is_data());
        assert!(is_pending(&mut watch));

        let now = Instant::now();
        connection.sweep(now + Duration::from_secs(4));
        assert_eq!(Arc::strong_count(&unread), 3);
        connection.sweep(now + Duration::from_secs(6));
        assert_eq!(Arc::strong_count(&unread), 2);
        connection.sweep(now + Duration::from_secs(21));
        assert_eq!(Arc::strong_count(&unread), 1);
        assert_eq!(Arc::strong_count(&idle), 2);
        assert!(
            !connection.is_closed(),
            "a client that does not read one stream keeps its other calls"
        );

        // A client that reads at last gets a complete status.
        let trailers = next(&mut never_polled).await.into_trailers().unwrap();
        assert_eq!(
            Status::from_header_map(&trailers).unwrap().code(),
            tonic::Code::DeadlineExceeded
        );
        assert!(trailers.contains_key("grpc-retry-pushback-ms"));
        drop((never_polled, half_read));
        connection.sweep(now + Duration::from_secs(3600));
        assert_eq!(Arc::strong_count(&idle), 2);
        drop(watch);
        assert_eq!(connection.open_answers(), 0);
    }

    /// Over gRPC the status is in trailers, which cannot be read as a part of a message.
    #[tokio::test]
    async fn a_page_gets_no_status_within_a_message() {
        for (is_web, read_whole, has_status) in [
            (false, false, true),
            (false, true, true),
            (true, false, false),
            (true, true, true),
        ] {
            let connection = Connection::new(1, None, None);
            let body = body(2, 10, &Arc::new(()));
            let mut answer = ReadBody::new(body, connection.clone(), UNREAD_STREAM, None, is_web);
            assert!(next(&mut answer).await.is_data());
            if read_whole {
                // The last byte is a part of its own.
                assert!(next(&mut answer).await.is_data());
                answer.answer.unsent().took(true);
            }
            connection.sweep(Instant::now() + UNREAD_STREAM + Duration::from_secs(1));
            let frame =
                std::future::poll_fn(|cx| http_body::Body::poll_frame(Pin::new(&mut answer), cx)).await;
            assert_eq!(frame.unwrap().is_ok(), has_status, "{is_web} {read_whole}");
        }
    }

    #[tokio::test]
    async fn a_message_that_is_read_slowly_is_dropped_after_a_minute() {
        let connection = Connection::new(1, None, None);
        let held = Arc::new(());
        let mut slow = answer(&connection, body(1, 100 * PART, &held), UNREAD_STREAM);
        assert!(next(&mut slow).await.is_data());
        let began = Instant::now();
        // It takes a part every now and then.
        for seconds in [15, 30, 45, 59] {
            slow.answer.unsent().waits_since = Some(began + Duration::from_secs(seconds - 1));
            connection.sweep(began + Duration::from_secs(seconds));
            assert_eq!(Arc::strong_count(&held), 2);
        }
        slow.answer.unsent().waits_since = Some(began + Duration::from_secs(60));
        connection.sweep(began + Duration::from_secs(61));
        assert_eq!(Arc::strong_count(&held), 1);
    }

    /// A part shares the memory of its message, and hyper keeps it as long as the stream is open.
    #[tokio::test]
    async fn a_part_does_not_keep_its_message() {
        let connection = Connection::new(1, None, None);
        let message = Bytes::from(vec![7; 3 * PART]);
        let sent = Body::from_stream(stream::iter([Ok::<_, axum::Error>(message.clone())]));
        let mut large = answer(&connection, sent, UNREAD_MESSAGE);
        let part = next(&mut large).await.into_data().unwrap();
        connection.sweep(Instant::now() + Duration::from_secs(6));
        assert_eq!(part.len(), PART);
        assert!(message.is_unique(), "the part keeps the message");
    }

    #[tokio::test]
    async fn many_stuck_answers_close_a_connection() {
        for (service, bearable) in [(None, 7), (Some(crate::call::ServiceName::new("backend")), 127)] {
            let connection = Connection::new(1, None, service);
            let held = Arc::new(());
            let open = |count| -> Vec<_> {
                let answers = (0..count).map(|_| answer(&connection, body(1, 10, &held), UNREAD_MESSAGE));
                answers.collect()
            };
            let late = || Instant::now() + Duration::from_secs(60);
            let _few = open(bearable);
            connection.sweep(late());
            connection.sweep(late());
            assert!(!connection.is_closed(), "{bearable}");
            let _one_more = open(1);
            connection.sweep(late());
            connection.sweep(late());
            assert!(connection.is_closed(), "{bearable}");
        }
    }

    #[tokio::test]
    async fn the_connection_of_a_service_stays_open() {
        let service = Some(crate::call::ServiceName::new("backend"));
        let connection = Connection::new(1, None, service);
        let held = Arc::new(());
        let _unread = answer(&connection, body(1, 10, &held), UNREAD_MESSAGE);
        for seconds in [6, 60] {
            connection.sweep(Instant::now() + Duration::from_secs(seconds));
            assert_eq!(Arc::strong_count(&held), 1);
        }
        assert!(!connection.is_closed());
    }

    /// HTTP/2 keeps what it was given, so that a client with a window of one byte could make it keep megabytes.
    #[tokio::test]
    async fn a_large_message_is_given_in_parts() {
        let connection = Connection::new(1, None, None);
        let held = Arc::new(());
        let mut large = answer(&connection, body(1, 40_000, &held), UNREAD_MESSAGE);
        let mut sizes = Vec::new();
        while sizes.iter().sum::<usize>() < 40_000 {
            assert!(!http_body::Body::is_end_stream(&large));
            sizes.push(next(&mut large).await.into_data().unwrap().len());
        }
        // The last byte waits until HTTP/2 has a window for all others.
        assert_eq!(sizes, [PART, PART, 40_000 - 2 * PART - 1, 1]);
    }
}
