//! `haven.data.v1.CycleService`: cycle records, and how devices keep in step.

mod acknowledge_changes;
mod create_record;
mod feed;
mod get_record;
mod list_conflicts;
mod list_records;
mod pull_changes;
mod push_changes;
pub(in crate::rpc) mod record;
mod resolve_conflict;
mod update_record;

use futures_util::stream::BoxStream;
use haven_platform::call::Call;
use haven_proto::data::v1::{
    AcknowledgeChangesRequest, AcknowledgeChangesResponse, CreateRecordRequest, CreateRecordResponse,
    DeleteRecordRequest, DeleteRecordResponse, GetRecordRequest, GetRecordResponse, ListConflictsRequest,
    ListConflictsResponse, ListRecordsRequest, ListRecordsResponse, PullChangesRequest, PullChangesResponse,
    PushChangesRequest, PushChangesResponse, ResolveConflictRequest, ResolveConflictResponse,
    UpdateRecordRequest, UpdateRecordResponse, WatchChangesRequest, WatchChangesResponse,
    cycle_service_server::CycleService,
};
use tonic::{Request, Response, Status};

use self::record as message;
use super::{EncryptedRpc, envelope, local_time, rotation_notice as notice};

#[tonic::async_trait]
impl CycleService for EncryptedRpc {
    type PullChangesStream = BoxStream<'static, Result<PullChangesResponse, Status>>;
    type WatchChangesStream = BoxStream<'static, Result<WatchChangesResponse, Status>>;

    async fn create_record(
        &self,
        request: Request<CreateRecordRequest>,
    ) -> Result<Response<CreateRecordResponse>, Status> {
        let call = Call::of(&request)?;
        let answer = self.create_record_of(&call, request.into_inner()).await?;
        Ok(answer.response(self.clock.now()))
    }

    async fn get_record(
        &self,
        request: Request<GetRecordRequest>,
    ) -> Result<Response<GetRecordResponse>, Status> {
        let call = Call::of(&request)?;
        let answer = self.get_record_of(&call, request.into_inner()).await?;
        Ok(answer.response(self.clock.now()))
    }

    async fn list_records(
        &self,
        request: Request<ListRecordsRequest>,
    ) -> Result<Response<ListRecordsResponse>, Status> {
        let call = Call::of(&request)?;
        let answer = self.list_records_of(&call, request.into_inner()).await?;
        Ok(answer.response(self.clock.now()))
    }

    async fn update_record(
        &self,
        request: Request<UpdateRecordRequest>,
    ) -> Result<Response<UpdateRecordResponse>, Status> {
        let call = Call::of(&request)?;
        let answer = self.update_record_of(&call, request.into_inner()).await?;
        Ok(answer.response(self.clock.now()))
    }

    async fn delete_record(
        &self,
        request: Request<DeleteRecordRequest>,
    ) -> Result<Response<DeleteRecordResponse>, Status> {
        let call = Call::of(&request)?;
        let answer = self.delete_record_of(&call, request.into_inner()).await?;
        Ok(answer.response(self.clock.now()))
    }

    async fn push_changes(
        &self,
        request: Request<PushChangesRequest>,
    ) -> Result<Response<PushChangesResponse>, Status> {
        let call = Call::of(&request)?;
        let answer = self.push_changes_of(&call, request.into_inner()).await?;
        Ok(answer.response(self.clock.now()))
    }

    async fn pull_changes(
        &self,
        request: Request<PullChangesRequest>,
    ) -> Result<Response<Self::PullChangesStream>, Status> {
        let call = Call::of(&request)?;
        let answer = self.pull_changes_of(&call, request.into_inner()).await?;
        Ok(answer.response(self.clock.now()))
    }

    async fn watch_changes(
        &self,
        request: Request<WatchChangesRequest>,
    ) -> Result<Response<Self::WatchChangesStream>, Status> {
        let call = Call::of(&request)?;
        let answer = self.watch_changes_of(&call, request.into_inner()).await?;
        Ok(answer.response(self.clock.now()))
    }

    async fn acknowledge_changes(
        &self,
        request: Request<AcknowledgeChangesRequest>,
    ) -> Result<Response<AcknowledgeChangesResponse>, Status> {
        let call = Call::of(&request)?;
        let answer = self.acknowledge_changes_of(&call, request.into_inner()).await?;
        Ok(answer.response(self.clock.now()))
    }

    async fn list_conflicts(
        &self,
        request: Request<ListConflictsRequest>,
    ) -> Result<Response<ListConflictsResponse>, Status> {
        let call = Call::of(&request)?;
        let answer = self.list_conflicts_of(&call, request.into_inner()).await?;
        Ok(answer.response(self.clock.now()))
    }

    async fn resolve_conflict(
        &self,
        request: Request<ResolveConflictRequest>,
    ) -> Result<Response<ResolveConflictResponse>, Status> {
        let call = Call::of(&request)?;
        let answer = self.resolve_conflict_of(&call, request.into_inner()).await?;
        Ok(answer.response(self.clock.now()))
    }
}
