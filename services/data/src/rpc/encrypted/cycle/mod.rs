//! `haven.data.v1.CycleService`: cycle records, and their synchronization across a person's devices.

mod acknowledge_changes;
mod create_record;
mod delete_record;
mod expected_version;
mod feed;
mod get_record;
mod list_conflicts;
mod list_records;
mod pull_changes;
mod push_changes;
mod record;
mod resolve_conflict;
mod sync_cursor;
mod update_record;
mod watch_changes;

use haven_platform::{entropy::Entropy, mac::MacKeys, page::PageTokens, time::Clock};
use haven_proto::data::v1::{
    AcknowledgeChangesRequest, AcknowledgeChangesResponse, CreateRecordRequest, CreateRecordResponse,
    DeleteRecordRequest, DeleteRecordResponse, GetRecordRequest, GetRecordResponse, ListConflictsRequest,
    ListConflictsResponse, ListRecordsRequest, ListRecordsResponse, PullChangesRequest, PullChangesResponse,
    PushChangesRequest, PushChangesResponse, ResolveConflictRequest, ResolveConflictResponse,
    UpdateRecordRequest, UpdateRecordResponse, WatchChangesRequest, WatchChangesResponse,
    cycle_service_server::CycleService,
};
use tokio_util::sync::CancellationToken;

pub(in crate::rpc) use self::record::{conflict_message, record_message};
use crate::{
    notify::PersonNotify,
    store::encrypted::cycle::{Changes, Records},
};

/// The gRPC service `haven.data.v1.CycleService`.
#[derive(Debug)]
pub struct CycleRpc {
    /// The stored cycle records.
    pub records: Records,
    /// The change feeds of records.
    pub changes: Changes,
    /// Notifies a person's devices of new changes.
    pub changed: PersonNotify,
    /// The key of the keyed hashes of requests.
    pub requests: MacKeys,
    /// Page tokens and sync cursors.
    pub pages: PageTokens,
    /// The time of day.
    pub clock: Clock,
    /// The source of new ids.
    pub entropy: Entropy,
    /// Cancelled when the service shuts down. Watches end then.
    pub stop: CancellationToken,
}

haven_platform::grpc_service! {
    impl CycleService for CycleRpc {
        rpc create_record(CreateRecordRequest) -> CreateRecordResponse;
        rpc get_record(GetRecordRequest) -> GetRecordResponse;
        rpc list_records(ListRecordsRequest) -> ListRecordsResponse;
        rpc update_record(UpdateRecordRequest) -> UpdateRecordResponse;
        rpc delete_record(DeleteRecordRequest) -> DeleteRecordResponse;
        rpc push_changes(PushChangesRequest) -> PushChangesResponse;
        rpc acknowledge_changes(AcknowledgeChangesRequest) -> AcknowledgeChangesResponse;
        rpc list_conflicts(ListConflictsRequest) -> ListConflictsResponse;
        rpc resolve_conflict(ResolveConflictRequest) -> ResolveConflictResponse;
        stream pull_changes(PullChangesRequest) -> PullChangesStream of PullChangesResponse;
        stream watch_changes(WatchChangesRequest) -> WatchChangesStream of WatchChangesResponse;
    }
}
