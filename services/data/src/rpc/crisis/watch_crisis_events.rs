//! WatchCrisisEvents: everybody's events as they happen, for services.
//!
//! A watch is pulled: nothing is read before the client has taken what was read before, and when the client goes away
//! nothing is left of it.

use std::{collections::VecDeque, time::Duration};

use futures_util::stream::{self, BoxStream, StreamExt};
use haven_platform::{call::Call, deadline::Deadline, failure::Failure, page::PageTokens, reason::Reason};
use haven_proto::data::v1::{WatchCrisisEventsRequest, WatchCrisisEventsResponse};
use tokio::time::Instant;
use tokio_util::sync::CancellationToken;
use tonic::Status;
use tracing::{Instrument, Span};
use uuid::Uuid;

use super::{
    super::{DataRpc, NOBODY, caller_service},
    event_message,
};
use crate::{
    domain::crisis::CrisisEvent,
    notify::Waiting,
    store::crisis::{CrisisEvents, FeedPart, FeedPlace},
};

/// How long one look into the feed may take. A database that is slower than this is not there.
const LOOK: Duration = Duration::from_secs(5);

/// How long what was read may wait for a client that is slow: after that it is read again, because people can have been
/// erased meanwhile.
const FRESH: Duration = Duration::from_secs(1);

impl DataRpc {
    pub(in crate::rpc) async fn watch_crisis_events_of(
        &self,
        call: &Call,
        request: &WatchCrisisEventsRequest,
    ) -> Result<BoxStream<'static, Result<WatchCrisisEventsResponse, Status>>, Failure> {
        let service = caller_service(call)?;
        let cursors = Cursors {
            pages: self.pages.clone(),
            list: list_of(service.as_str()),
        };
        let mut watch = Watch {
            after: cursors.open(&request.cursor)?,
            cursors,
            crisis_events: self.crisis_events.clone(),
            deadline: call.deadline,
            waiting: self.new_crisis_events.wait(),
            stop: self.stop.clone(),
            read: VecDeque::new(),
            read_at: Instant::now(),
            end: 0,
        };
        // What is wrong with the cursor, or with the database, is the answer to the call.
        watch.look().await?;
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

/// One client, from the call to the end of its stream.
struct Watch {
    crisis_events: CrisisEvents,
    cursors: Cursors,
    deadline: Deadline,
    waiting: Waiting,
    stop: CancellationToken,
    /// The last event that was sent; or a later number, up to which there are no others. The event of the client's
    /// cursor is checked once, when the watch begins.
    after: FeedPlace,
    /// What was read and is not sent yet.
    read: VecDeque<(i64, CrisisEvent)>,
    read_at: Instant,
    /// The number up to which there are no others than those that were read.
    end: i64,
}

impl Watch {
    /// The next event, when there is one.
    async fn next(&mut self) -> Result<WatchCrisisEventsResponse, Failure> {
        let stop = self.stop.clone();
        let next = async {
            loop {
                if let Some(next) = self.take() {
                    return Ok(next);
                }
                self.look().await?;
                if self.read.is_empty() {
                    self.waiting.next(self.deadline.instant()).await;
                }
                // Its time is over, and it is nothing's fault.
                if self.deadline.remaining().is_zero() {
                    return Err(Failure::new(Reason::Deadline));
                }
            }
        };
        // A restart does not wait for those who watch: another replica goes on from their cursor.
        tokio::select! {
            biased;
            () = stop.cancelled() => Err(Failure::new(Reason::Draining)),
            next = next => next,
        }
    }

    fn take(&mut self) -> Option<WatchCrisisEventsResponse> {
        if self.read_at.elapsed() > FRESH {
            self.read.clear();
        }
        let (number, event) = self.read.pop_front()?;
        self.after.number = if self.read.is_empty() { self.end } else { number };
        Some(WatchCrisisEventsResponse {
            event: Some(event_message(&event)),
            cursor: self.cursors.seal(number, event.id),
        })
    }

    /// Reads what comes next in the feed.
    async fn look(&mut self) -> Result<(), Failure> {
        let part = self
            .crisis_events
            .watch(self.after, self.deadline.at_most(LOOK))
            .await;
        let part = part.map_err(|error| self.deadline.of_part(error.into()))?;
        let part = part.ok_or_else(|| Failure::new(Reason::CursorExpired))?;
        self.after.event = None;
        self.end = part.end();
        let FeedPart { events, .. } = part;
        if events.is_empty() {
            self.after.number = self.end;
        }
        self.read = events.into();
        self.read_at = Instant::now();
        Ok(())
    }
}

/// The cursors of one service. Another's are refused, as page tokens are: what leads on from an answer is for whoever got
/// that answer. It is the service's name that counts, so all of its replicas share theirs.
struct Cursors {
    pages: PageTokens,
    list: Vec<u8>,
}

impl Cursors {
    /// What leads on from the event with this number. Its id is in there because a number that was lost with the database
    /// is given out again: it would lead past events that nobody was shown.
    fn seal(&self, number: i64, event: Uuid) -> String {
        let cursor = [number.to_be_bytes().as_slice(), event.as_bytes()].concat();
        self.pages.seal(NOBODY, &self.list, &cursor)
    }

    /// The place that `cursor` leads on from; without one, that before the first event.
    fn open(&self, cursor: &str) -> Result<FeedPlace, Failure> {
        let place = match self.pages.cursor(NOBODY, &self.list, cursor) {
            Ok(None) => Some(FeedPlace::default()),
            Ok(Some(cursor)) => place(cursor),
            Err(_) => None,
        };
        place.ok_or_else(|| {
            let description = "This has to be the cursor of an answer to this service";
            Failure::field("cursor", "NOT_A_CURSOR", description)
        })
    }
}

/// The place that a cursor holds.
fn place(cursor: [u8; 24]) -> Option<FeedPlace> {
    let (number, event) = cursor.split_first_chunk()?;
    Some(FeedPlace {
        number: i64::from_be_bytes(*number),
        event: Some(Uuid::from_slice(event).ok()?),
    })
}

/// What has to be the same from stream to stream. The service's name, which is as long as it likes, is last.
fn list_of(service: &str) -> Vec<u8> {
    [b"WatchCrisisEvents", service.as_bytes()].concat()
}

#[cfg(test)]
mod tests {
    use haven_platform::mac::{MacKey, SecretKey};

    use super::*;

    fn cursors(service: &str) -> Cursors {
        let key = MacKey::derive(&SecretKey::new(Box::new([7; 32])), "data page tokens");
        Cursors {
            pages: PageTokens::new(key),
            list: list_of(service),
        }
    }

    #[test]
    fn a_cursor_is_its_services() {
        let ours = cursors("backend");
        assert_eq!(ours.open("").unwrap(), FeedPlace::default());
        let event = Uuid::from_u128(7);
        for number in [1, 42, i64::MAX] {
            let place = FeedPlace {
                number,
                event: Some(event),
            };
            assert_eq!(ours.open(&ours.seal(number, event)).unwrap(), place);
        }
        let page = ours.pages.seal(NOBODY, b"ListCrisisEvents", &[1; 24]);
        let numberless = ours.pages.seal(NOBODY, &ours.list, &42i64.to_be_bytes());
        let (others, cut) = (cursors("other").seal(42, event), &ours.seal(42, event)[1..]);
        for cursor in ["x", &others, cut, &page, &numberless] {
            let failure = ours.open(cursor).unwrap_err();
            assert_eq!(failure.reason(), Reason::InvalidField, "{cursor}");
            assert_eq!(failure.all_violations()[0].field, "cursor");
        }
    }
}
