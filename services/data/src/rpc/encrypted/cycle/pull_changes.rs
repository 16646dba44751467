//! PullChanges: streams what changed since a cursor, up to the newest change at the time of the call.
//!
//! The next part is read when the client has received the one before, each in a transaction of its own. When the
//! client disconnects, no transaction and no task remains.

use std::future::ready;

use futures_util::stream::{self, BoxStream, StreamExt};
use haven_platform::{call::Call, failure::Failure, handler::Handler};
use haven_proto::data::v1::{PullChangesRequest, PullChangesResponse};
use tonic::Status;
use tracing::{Instrument, Span};

use super::{super::rotation_notice::WithRotationNotice, CycleRpc};

impl Handler<PullChangesRequest> for CycleRpc {
    type Answer = WithRotationNotice<BoxStream<'static, Result<PullChangesResponse, Status>>>;

    async fn handle(&self, call: &Call, request: PullChangesRequest) -> Result<Self::Answer, Failure> {
        let mut reader = self.feed_reader(call, &request.device_id, &request.cursor)?;
        // The first part is read before the response begins, so that an expired cursor or a database failure fails the
        // call.
        let first = reader.read().await?;
        let next_rotation_at = Some(first.next_rotation_at);
        // Later changes are left to the next pull: a person that writes all the time would make this one endless.
        let goal = reader.last_number();
        let message = |(entries, cursor)| PullChangesResponse { entries, cursor };
        let first = message(reader.message(first));
        let span = Span::current();
        let rest = stream::try_unfold(reader, move |mut reader| {
            async move {
                if reader.has_read(goal) {
                    return Ok(None);
                }
                let part = reader.read().await.map_err(Status::from)?;
                Ok(Some((message(reader.message(part)), reader)))
            }
            .instrument(span.clone())
        });
        let answers = stream::once(ready(Ok(first))).chain(rest).boxed();
        Ok(WithRotationNotice::new(
            answers,
            next_rotation_at,
            self.clock.now(),
        ))
    }
}
