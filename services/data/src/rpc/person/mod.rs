//! `haven.data.v1.PersonService`: people, as far as this service has to know them.

mod export_data;
pub(super) mod list_audit_events;

use std::sync::Arc;

use futures_util::stream::BoxStream;
use haven_platform::{
    call::{Call, UserId},
    failure::Failure,
    page::PageTokens,
    reason::Reason,
    time::{Clock, timestamp},
    violations::Violations,
};
use haven_proto::data::v1::{
    EraseUserRequest, EraseUserResponse, ErasedRows, ExportDataRequest, ExportDataResponse,
    ListAuditEventsRequest, ListAuditEventsResponse, ProvisionUserRequest, ProvisionUserResponse,
    person_service_server::PersonService,
};
use tonic::{Request, Response, Status};

use crate::{
    domain::key_ring::KeyRing,
    store::person::{People, ProvisionError, Receipt, export_data::Exports, list_audit_events::AuditLog},
};

/// The service, as the server runs it.
#[derive(Debug)]
pub struct PersonRpc {
    /// The people.
    pub people: People,
    /// Everything that they have.
    pub exports: Exports,
    /// What they did to it.
    pub audit_log: AuditLog,
    /// What opens what they wrote.
    pub keys: Arc<KeyRing>,
    /// Page tokens.
    pub pages: PageTokens,
    /// The time of day.
    pub clock: Clock,
}

impl PersonRpc {
    async fn provision(
        &self,
        call: &Call,
        request: &ProvisionUserRequest,
    ) -> Result<ProvisionUserResponse, Failure> {
        let person = parse(&request.user_id, &request.request_id)?;
        let since = self
            .people
            .provision(person, call.deadline, self.clock.now())
            .await?;
        Ok(ProvisionUserResponse {
            create_time: Some(timestamp(since)),
        })
    }

    async fn erase(&self, call: &Call, request: &EraseUserRequest) -> Result<EraseUserResponse, Failure> {
        let person = parse(&request.user_id, &request.request_id)?;
        let receipt = self.people.erase(person, call.deadline, self.clock.now()).await?;
        Ok(answer(receipt))
    }
}

#[tonic::async_trait]
impl PersonService for PersonRpc {
    type ExportDataStream = BoxStream<'static, Result<ExportDataResponse, Status>>;

    async fn export_data(
        &self,
        request: Request<ExportDataRequest>,
    ) -> Result<Response<Self::ExportDataStream>, Status> {
        let call = Call::of(&request)?;
        Ok(Response::new(self.export_data_of(&call).await?))
    }

    async fn list_audit_events(
        &self,
        request: Request<ListAuditEventsRequest>,
    ) -> Result<Response<ListAuditEventsResponse>, Status> {
        let call = Call::of(&request)?;
        Ok(Response::new(
            self.list_audit_events_of(&call, request.into_inner()).await?,
        ))
    }

    async fn provision_user(
        &self,
        request: Request<ProvisionUserRequest>,
    ) -> Result<Response<ProvisionUserResponse>, Status> {
        let call = Call::of(&request)?;
        Ok(Response::new(self.provision(&call, request.get_ref()).await?))
    }

    async fn erase_user(
        &self,
        request: Request<EraseUserRequest>,
    ) -> Result<Response<EraseUserResponse>, Status> {
        let call = Call::of(&request)?;
        Ok(Response::new(self.erase(&call, request.get_ref()).await?))
    }
}

impl From<ProvisionError> for Failure {
    fn from(error: ProvisionError) -> Self {
        match error {
            ProvisionError::AccountErased => Self::new(Reason::AccountErased),
            ProvisionError::Database(error) => error.into(),
        }
    }
}

/// The person is all that a request says, so what is stored of the person is what makes a retry known as one: the request's
/// own id has to be there, as everywhere, and is not kept.
fn parse(user_id: &str, request_id: &str) -> Result<UserId, Failure> {
    let mut violations = Violations::new();
    let person = violations.uuid("user_id", user_id);
    violations.uuid("request_id", request_id);
    violations.check()?;
    Ok(UserId::new(person))
}

fn answer(receipt: Receipt) -> EraseUserResponse {
    let erased = receipt.erased.into_iter();
    EraseUserResponse {
        erase_time: Some(timestamp(receipt.erased_at)),
        erased: erased.map(|(table, rows)| ErasedRows { table, rows }).collect(),
    }
}

#[cfg(test)]
mod tests {
    use chrono::DateTime;

    use super::*;

    #[test]
    fn both_ids_are_needed() {
        let failure = parse("", "").unwrap_err();
        let found: Vec<_> = failure
            .all_violations()
            .iter()
            .map(|v| (v.field.as_str(), v.name))
            .collect();
        assert_eq!(found, [("user_id", "REQUIRED"), ("request_id", "REQUIRED")]);
    }

    #[test]
    fn a_receipt_names_its_tables_in_order() {
        let rows = [("data.users", 1), ("data.conversations", 3), ("data.requests", 0)];
        let answer = answer(Receipt {
            erased_at: DateTime::from_timestamp(1_800_000_000, 0).unwrap(),
            erased: rows.map(|(table, rows)| (table.to_owned(), rows)).into(),
        });
        let tables: Vec<_> = answer
            .erased
            .iter()
            .map(|erased| (erased.table.as_str(), erased.rows))
            .collect();
        assert_eq!(
            tables,
            [("data.conversations", 3), ("data.requests", 0), ("data.users", 1)]
        );
    }
}
