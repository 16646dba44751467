//! `haven.data.v1.PersonService`: people's rows in this service, their export and their erasure.

mod erase_user;
mod export_data;
mod get_usage;
mod list_audit_events;
mod list_users;
mod lock_user;
mod provision_user;

use std::sync::Arc;

use haven_platform::{
    call::UserId, failure::Failure, grpc_service, page::PageTokens, time::Clock, violations::Violations,
};
use haven_proto::data::v1::{
    EraseUserRequest, EraseUserResponse, ExportDataRequest, ExportDataResponse, GetUsageRequest,
    GetUsageResponse, ListAuditEventsRequest, ListAuditEventsResponse, ListUsersRequest, ListUsersResponse,
    LockUserRequest, LockUserResponse, ProvisionUserRequest, ProvisionUserResponse,
    person_service_server::PersonService,
};

use crate::{
    domain::{key_ring::KeyRing, quota::Quotas},
    store::person::{People, export_data::Exports, list_audit_events::AuditLog},
};

/// The implementation of PersonService.
#[derive(Debug)]
pub struct PersonRpc {
    /// The table of provisioned and erased people.
    pub people: People,
    /// The rows of a person, for an export.
    pub exports: Exports,
    /// The security audit log.
    pub audit_log: AuditLog,
    /// The limits of what a person may store.
    pub quotas: Quotas,
    /// Opens the texts of messages and analyses, for an export.
    pub keys: Arc<KeyRing>,
    /// Seals and verifies page tokens.
    pub pages: PageTokens,
    /// The clock that times of creation and change are read from.
    pub clock: Clock,
}

grpc_service! {
    impl PersonService for PersonRpc {
        rpc list_audit_events(ListAuditEventsRequest) -> ListAuditEventsResponse;
        rpc get_usage(GetUsageRequest) -> GetUsageResponse;
        rpc provision_user(ProvisionUserRequest) -> ProvisionUserResponse;
        rpc erase_user(EraseUserRequest) -> EraseUserResponse;
        rpc list_users(ListUsersRequest) -> ListUsersResponse;
        rpc lock_user(LockUserRequest) -> LockUserResponse;
        stream export_data(ExportDataRequest) -> ExportDataStream of ExportDataResponse;
    }
}

/// Parses the fields of ProvisionUser, EraseUser and LockUser. The request id must be valid, as in every mutation, but is not
/// stored: the person's row or tombstone is the only content, and shows whether a request is a retry.
fn parse_person(user_id: &str, request_id: &str) -> Result<UserId, Failure> {
    let mut violations = Violations::new();
    let person = violations.uuid("user_id", user_id);
    violations.uuid("request_id", request_id);
    violations.check()?;
    Ok(UserId::new(person))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn both_ids_are_required() {
        let failure = parse_person("", "").unwrap_err();
        let violations: Vec<_> = failure
            .all_violations()
            .iter()
            .map(|v| (v.field.as_str(), v.name))
            .collect();
        assert_eq!(violations, [("user_id", "REQUIRED"), ("request_id", "REQUIRED")]);
    }
}
