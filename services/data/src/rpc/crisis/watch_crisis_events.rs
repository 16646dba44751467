//! WatchCrisisEvents: streams all people's crisis events, for services.
//!
//! A watch reads from the database only when the client has taken all events that were read before, and is dropped with
//! its connection. An idle watch sends an answer with the cursor alone now and then.

use std::{collections::VecDeque, time::Duration};

use futures_util::stream::{self, BoxStream, StreamExt};
use haven_platform::{
    call::Call, deadline::Deadline, failure::Failure, handler::Handler, page::PageTokens, reason::Reason,
};
use haven_proto::data::v1::{
    CrisisEvent as CrisisEventMessage, WatchCrisisEventsRequest, WatchCrisisEventsResponse,
};
use tokio::time::Instant;
use tokio_util::sync::CancellationToken;
use tonic::Status;
use tracing::{Instrument, Span};
use uuid::Uuid;

use super::{CrisisRpc, event::event_to_proto};
use crate::{
    domain::crisis::CrisisEvent,
    idle::LastAnswer,
    notify::Waiting,
    rpc::{NO_USER, calling_service},
    store::crisis::{CrisisEvents, FeedCursor, FeedPart},
};

/// The time limit of one read of the feed. A database that takes longer counts as unavailable.
const READ_TIMEOUT: Duration = Duration::from_secs(5);

/// The time for which events that were read may wait for a slow client. After that they are read again, because their
/// people may have been erased.
const MAX_AGE: Duration = Duration::from_secs(1);

impl Handler<WatchCrisisEventsRequest> for CrisisRpc {
    type Answer = BoxStream<'static, Result<WatchCrisisEventsResponse, Status>>;

    async fn handle(&self, call: &Call, request: WatchCrisisEventsRequest) -> Result<Self::Answer, Failure> {
        let service = calling_service(call)?;
        let cursors = Cursors {
            pages: self.pages.clone(),
            list: list_bytes(service.as_str()),
        };
        let mut watch = Watch {
            after: cursors.open(&request.cursor)?,
            cursor: request.cursor,
            cursors,
            crisis_events: self.crisis_events.clone(),
            deadline: call.deadline,
            waiting: self.new_crisis_events.wait(),
            stop: self.stop.clone(),
            last: LastAnswer::at(Instant::now()),
            unsent: VecDeque::new(),
            read_at: Instant::now(),
            end: 0,
        };
        // The first read is part of the call, so that an expired cursor or a failing database fails the call itself.
        watch.read().await?;
        let span = Span::current();
        let events = stream::try_unfold(watch, move |mut watch| {
            async move {
                let next = watch.next().await.map_err(Status::from)?;
                Ok(Some((next, watch)))
            }
            .instrument(span.clone())
        });
        Ok(events.boxed())
    }
}

/// The watch of one client, from the call to the end of its stream.
struct Watch {
    crisis_events: CrisisEvents,
    cursors: Cursors,
    deadline: Deadline,
    waiting: Waiting,
    stop: CancellationToken,
    /// The position of the last sent event, or a later number without events in between. The event id of the client's
    /// cursor is checked once, by the first read.
    after: FeedCursor,
    /// The cursor after the last sent event, which is that of the request before the first one.
    cursor: String,
    /// The time of the last answer.
    last: LastAnswer,
    /// The events that were read and are not sent yet.
    unsent: VecDeque<(i64, CrisisEvent)>,
    /// The time of the last read.
    read_at: Instant,
    /// The number up to which no other events follow those that were read.
    end: i64,
}

impl Watch {
    /// Returns the next event, and waits until there is one or an answer without one is due.
    async fn next(&mut self) -> Result<WatchCrisisEventsResponse, Failure> {
        let stop = self.stop.clone();
        let next = async {
            loop {
                if let Some(next) = self.take() {
                    return Ok(next);
                }
                self.read().await?;
                if self.unsent.is_empty() {
                    if self.last.is_long_ago(Instant::now()) {
                        return Ok(self.answer(None));
                    }
                    self.waiting.next(self.deadline.instant()).await;
                }
                // The call's time is over, and no part of the service is at fault.
                if self.deadline.remaining().is_zero() {
                    return Err(Failure::new(Reason::Deadline));
                }
            }
        };
        // A shutdown does not wait for watches: the client continues on another replica, from its cursor.
        tokio::select! {
            biased;
            () = stop.cancelled() => Err(Failure::new(Reason::Draining)),
            next = next => next,
        }
    }

    /// Takes the next unsent event.
    fn take(&mut self) -> Option<WatchCrisisEventsResponse> {
        if self.read_at.elapsed() > MAX_AGE {
            self.unsent.clear();
        }
        let (number, event) = self.unsent.pop_front()?;
        self.after.number = if self.unsent.is_empty() { self.end } else { number };
        self.cursor = self.cursors.seal(number, event.id);
        Some(self.answer(Some(event_to_proto(&event))))
    }

    /// Returns an answer with the cursor after the last sent event.
    fn answer(&mut self, event: Option<CrisisEventMessage>) -> WatchCrisisEventsResponse {
        self.last = LastAnswer::at(Instant::now());
        WatchCrisisEventsResponse {
            event,
            cursor: self.cursor.clone(),
        }
    }

    /// Reads the next part of the feed.
    async fn read(&mut self) -> Result<(), Failure> {
        let part = self
            .crisis_events
            .watch(self.after, self.deadline.at_most(READ_TIMEOUT))
            .await;
        let part = part.map_err(|error| self.deadline.attribute_timeout(error.into()))?;
        let part = part.ok_or_else(|| Failure::new(Reason::CursorExpired))?;
        self.after.event = None;
        self.end = part.end();
        let FeedPart { events, .. } = part;
        if events.is_empty() {
            self.after.number = self.end;
        }
        self.unsent = events.into();
        self.read_at = Instant::now();
        Ok(())
    }
}

/// The cursors of one service, shared by its replicas. Cursors of other services are rejected, as page tokens of other
/// users are.
struct Cursors {
    pages: PageTokens,
    list: Vec<u8>,
}

impl Cursors {
    /// Returns the cursor after the event `event` with the number `number`. The id is part of it because a number that
    /// was lost with the database is assigned again: the cursor would skip events that were never sent.
    fn seal(&self, number: i64, event: Uuid) -> String {
        let cursor = [number.to_be_bytes().as_slice(), event.as_bytes()].concat();
        self.pages.seal(NO_USER, &self.list, &cursor)
    }

    /// Returns the position of `cursor`; that before the first event when it is empty.
    ///
    /// # Errors
    ///
    /// INVALID_FIELD when the cursor was not returned to this service.
    fn open(&self, cursor: &str) -> Result<FeedCursor, Failure> {
        let position = match self.pages.cursor(NO_USER, &self.list, cursor) {
            Ok(None) => Some(FeedCursor::default()),
            Ok(Some(bytes)) => feed_cursor(bytes),
            Err(_) => None,
        };
        position.ok_or_else(|| {
            let description = "cursor must be a cursor from a response to this service";
            Failure::field("cursor", "NOT_A_CURSOR", description)
        })
    }
}

/// Converts the bytes of a cursor: the number (8 bytes, big-endian), then the event's id (16 bytes).
fn feed_cursor(bytes: [u8; 24]) -> Option<FeedCursor> {
    let (number, event) = bytes.split_first_chunk()?;
    Some(FeedCursor {
        number: i64::from_be_bytes(*number),
        event: Some(Uuid::from_slice(event).ok()?),
    })
}

/// Returns the bytes that must be the same on each stream. The service's name is last, because its length is not fixed.
fn list_bytes(service: &str) -> Vec<u8> {
    [b"WatchCrisisEvents", service.as_bytes()].concat()
}

#[cfg(test)]
mod tests {
    use haven_platform::mac::{MacKeys, SecretKeys};

    use super::*;

    fn cursors(service: &str) -> Cursors {
        let key = MacKeys::derive(&SecretKeys::one([7; 32]), "data page tokens");
        Cursors {
            pages: PageTokens::new(key),
            list: list_bytes(service),
        }
    }

    #[test]
    fn a_cursor_is_accepted_only_from_its_service() {
        let ours = cursors("backend");
        assert_eq!(ours.open("").unwrap(), FeedCursor::default());
        let event = Uuid::from_u128(7);
        for number in [1, 42, i64::MAX] {
            let position = FeedCursor {
                number,
                event: Some(event),
            };
            assert_eq!(ours.open(&ours.seal(number, event)).unwrap(), position);
        }
        let page = ours.pages.seal(NO_USER, b"ListCrisisEvents", &[1; 24]);
        let numberless = ours.pages.seal(NO_USER, &ours.list, &42i64.to_be_bytes());
        let (others, cut) = (cursors("other").seal(42, event), &ours.seal(42, event)[1..]);
        for cursor in ["x", &others, cut, &page, &numberless] {
            let failure = ours.open(cursor).unwrap_err();
            assert_eq!(failure.reason(), Reason::InvalidField, "{cursor}");
            assert_eq!(failure.all_violations()[0].field, "cursor");
        }
    }
}
