//! PullChanges and WatchChanges: what changed since a cursor.
//!
//! Both are pulled: a part is read when the client has taken the one before it, in a transaction of its own, and when
//! the client goes away nothing is left.

use std::future::ready;

use futures_util::stream::{self, BoxStream, StreamExt};
use haven_platform::{call::Call, failure::Failure, reason::Reason};
use haven_proto::data::v1::{
    PullChangesRequest, PullChangesResponse, WatchChangesRequest, WatchChangesResponse,
};
use tokio_util::sync::CancellationToken;
use tonic::Status;
use tracing::{Instrument, Span};

use super::{EncryptedRpc, feed::Reader, notice::Noticed};
use crate::notify::Waiting;

impl EncryptedRpc {
    pub(super) async fn pull_changes_of(
        &self,
        call: &Call,
        request: PullChangesRequest,
    ) -> Result<Noticed<BoxStream<'static, Result<PullChangesResponse, Status>>>, Failure> {
        let mut reader = self.reader(call, &request.device_id, &request.cursor)?;
        // What is wrong with the cursor, or with the database, is the answer to the call.
        let first = reader.look().await?;
        let next_rotation_at = Some(first.next_rotation_at);
        // What changes while it pulls is for the next pull: of somebody who always writes there would be no end.
        let goal = reader.last_number();
        let message = |(entries, cursor)| PullChangesResponse { entries, cursor };
        let first = message(reader.message(first));
        let span = Span::current();
        let rest = stream::try_unfold(reader, move |mut reader| {
            async move {
                if reader.has(goal) {
                    return Ok(None);
                }
                let part = reader.look().await.map_err(Status::from)?;
                Ok(Some((message(reader.message(part)), reader)))
            }
            .instrument(span.clone())
        });
        Ok(Noticed {
            answer: stream::once(ready(Ok(first))).chain(rest).boxed(),
            next_rotation_at,
        })
    }

    pub(super) async fn watch_changes_of(
        &self,
        call: &Call,
        request: WatchChangesRequest,
    ) -> Result<Noticed<BoxStream<'static, Result<WatchChangesResponse, Status>>>, Failure> {
        let mut reader = self.reader(call, &request.device_id, &request.cursor)?;
        let waiting = self.changed.of(call.user()?).wait();
        let first = reader.look().await?;
        let next_rotation_at = Some(first.next_rotation_at);
        let (entries, cursor) = reader.message(first);
        // Sent though it may be empty: the client has a cursor then, and knows that somebody watches for it.
        let first = WatchChangesResponse { entries, cursor };
        let watch = Watch {
            reader,
            waiting,
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
        Ok(Noticed {
            answer: stream::once(ready(Ok(first))).chain(rest).boxed(),
            next_rotation_at,
        })
    }
}

/// A device that watches.
struct Watch {
    reader: Reader,
    waiting: Waiting,
    stop: CancellationToken,
}

impl Watch {
    /// What changed next, when there is something.
    async fn next(&mut self) -> Result<WatchChangesResponse, Failure> {
        let (reader, waiting) = (&mut self.reader, &mut self.waiting);
        let next = async {
            loop {
                if reader.has(reader.last_number()) {
                    waiting.next(reader.deadline().instant()).await;
                }
                // Its time is over, and it is nothing's fault.
                if reader.deadline().remaining().is_zero() {
                    return Err(Failure::new(Reason::Deadline));
                }
                let part = reader.look().await?;
                if !part.entries.is_empty() {
                    let (entries, cursor) = reader.message(part);
                    return Ok(WatchChangesResponse { entries, cursor });
                }
            }
        };
        // A restart does not wait for those who watch: another replica goes on from their cursor.
        tokio::select! {
            biased;
            () = self.stop.cancelled() => Err(Failure::new(Reason::Draining)),
            next = next => next,
        }
    }
}
