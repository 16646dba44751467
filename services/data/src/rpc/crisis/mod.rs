//! `haven.data.v1.CrisisService`: crisis events, for their person and for the services that follow them up.

mod acknowledge_crisis_event;
pub(in crate::rpc) mod event;
mod list_crisis_events;
mod resolve_crisis_event;
mod watch_crisis_events;

use haven_platform::{grpc_service, page::PageTokens, time::Clock};
use haven_proto::data::v1::{
    AcknowledgeCrisisEventRequest, AcknowledgeCrisisEventResponse, ListCrisisEventsRequest,
    ListCrisisEventsResponse, ResolveCrisisEventRequest, ResolveCrisisEventResponse,
    WatchCrisisEventsRequest, WatchCrisisEventsResponse, crisis_service_server::CrisisService,
};
use tokio_util::sync::CancellationToken;

use crate::{notify::Notify, store::crisis::CrisisEvents};

/// The implementation of CrisisService.
#[derive(Debug)]
pub struct CrisisRpc {
    /// The table of crisis events.
    pub crisis_events: CrisisEvents,
    /// Notifies watches of new crisis events.
    pub new_crisis_events: Notify,
    /// Page tokens, and cursors of the feed.
    pub pages: PageTokens,
    /// The clock that times of creation and change are read from.
    pub clock: Clock,
    /// Cancelled when the service shuts down: watches end.
    pub stop: CancellationToken,
}

grpc_service! {
    impl CrisisService for CrisisRpc {
        rpc list_crisis_events(ListCrisisEventsRequest) -> ListCrisisEventsResponse;
        rpc acknowledge_crisis_event(AcknowledgeCrisisEventRequest) -> AcknowledgeCrisisEventResponse;
        rpc resolve_crisis_event(ResolveCrisisEventRequest) -> ResolveCrisisEventResponse;
        stream watch_crisis_events(WatchCrisisEventsRequest) -> WatchCrisisEventsStream of WatchCrisisEventsResponse;
    }
}
