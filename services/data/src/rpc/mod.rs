//! gRPC. A folder for each gRPC service, and in it a file for each RPC, which parses the request into domain types,
//! calls the store, and converts the answer.

pub mod analysis;
pub mod analysis_queue;
pub mod conversation;
pub mod crisis;
pub mod encrypted;
pub mod person;

use haven_platform::{
    call::{Call, ServiceName, UserId},
    failure::Failure,
    reason::Reason,
};
use uuid::Uuid;

use crate::store::person_status::Unknown;

/// The owner of page tokens and cursors of services. The service's name is part of the authenticated request bytes.
const NO_USER: UserId = UserId::new(Uuid::nil());

/// Returns the name of the calling service.
///
/// # Errors
///
/// ACCESS_DENIED when the caller is not a service.
fn calling_service(call: &Call) -> Result<&ServiceName, Failure> {
    let service = call.caller.service.as_ref();
    service.ok_or_else(|| Failure::new(Reason::AccessDenied))
}

impl From<Unknown> for Failure {
    fn from(unknown: Unknown) -> Self {
        match unknown {
            Unknown::AccountNotReady => Self::new(Reason::AccountNotReady),
            Unknown::AccountErased => Self::new(Reason::AccountErased),
        }
    }
}
