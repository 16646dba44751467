//! WatchChanges: streams what changed since a cursor, and waits for more until the call's deadline. An idle watch sends an answer with
//! the cursor alone now and then.
//!
//! A device has one watch: the server ends its older one. The next part is read when the client has received the one before, each in a transaction of its own. When the
//! client disconnects, no transaction and no task remains.

use std::future::ready;

use futures_util::stream::{self, BoxStream, StreamExt};
use haven_platform::{call::Call, failure::Failure, handler::Handler, reason::Reason};
use haven_proto::data::v1::{WatchChangesRequest, WatchChangesResponse};
use tokio::time::Instant;
use tokio_util::sync::CancellationToken;
use tonic::Status;
use tracing::{Instrument, Span};

use super::{super::rotation_notice::WithRotationNotice, CycleRpc, feed::FeedReader};
use crate::{idle::LastAnswer, notify::Waiting};

impl Handler<WatchChangesRequest> for CycleRpc {
    type Answer = WithRotationNotice<BoxStream<'static, Result<WatchChangesResponse, Status>>>;

    async fn handle(&self, call: &Call, request: WatchChangesRequest) -> Result<Self::Answer, Failure> {
        let mut reader = self.feed_reader(call, &request.device_id, &request.cursor)?;
        let waiting = self.changed.of(call.user()?).wait();
        let first = reader.read().await?;
        let next_rotation_at = Some(first.next_rotation_at);
        let (entries, cursor) = reader.message(first);
        // The first message is sent even without entries: it gives the client a cursor, and shows that the watch has
        // begun.
        let first = WatchChangesResponse { entries, cursor };
        let device = reader.device();
        let watch = Watch {
            reader,
            waiting,
            last: LastAnswer::at(Instant::now()),
            stop: self.stop.clone(),
        };
        let span = Span::current();
        let rest = stream::try_unfold(watch, move |mut watch| {
            async move {
                let next = watch.next().await.map_err(Status::from)?;
                Ok(Some((next, watch)))
            }
            .instrument(span.clone())
        });
        let answers = stream::once(ready(Ok(first))).chain(rest).boxed();
        Ok(WithRotationNotice::new(answers, next_rotation_at, self.clock.now()).watched_by(device))
    }
}

/// A device that watches the feed.
struct Watch {
    reader: FeedReader,
    waiting: Waiting,
    last: LastAnswer,
    stop: CancellationToken,
}

impl Watch {
    /// Waits for the next part with entries, or until an answer without entries is due.
    async fn next(&mut self) -> Result<WatchChangesResponse, Failure> {
        let (reader, waiting, last) = (&mut self.reader, &mut self.waiting, &mut self.last);
        let next = async {
            loop {
                if reader.has_read(reader.last_number()) {
                    waiting.next(reader.deadline().instant()).await;
                }
                // A watch regularly ends at its deadline, so the database is not asked again.
                if reader.deadline().remaining().is_zero() {
                    return Err(Failure::new(Reason::Deadline));
                }
                let part = reader.read().await?;
                let now = Instant::now();
                if !part.entries.is_empty() || last.is_long_ago(now) {
                    *last = LastAnswer::at(now);
                    let (entries, cursor) = reader.message(part);
                    return Ok(WatchChangesResponse { entries, cursor });
                }
            }
        };
        // A shutdown does not wait for watches: clients continue from their cursor at another replica.
        tokio::select! {
            biased;
            () = self.stop.cancelled() => Err(Failure::new(Reason::Draining)),
            next = next => next,
        }
    }
}
