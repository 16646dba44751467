//! The account that a request names, and the caller's role in accessing it.

use haven_platform::{
    call::{Call, UserId},
    failure::Failure,
    reason::Reason,
    violations::Violations,
};

use crate::domain::account::ActingAs;

/// Parses the user id in the request's `field`. A person may leave it empty, which means their own account; a service may
/// not.
pub(super) fn parse_user_id(
    call: &Call,
    field: &'static str,
    value: &str,
    violations: &mut Violations,
) -> UserId {
    match call.caller.user {
        Some(user) => violations
            .optional_uuid(field, value)
            .map_or(user.id, UserId::new),
        None => UserId::new(violations.uuid(field, value)),
    }
}

/// The role in which `call` accesses the account of `person`. A call of a person through a service acts as the person.
///
/// # Errors
///
/// NOT_FOUND when a person calls and the account is another person's.
pub(super) fn acting_as(call: &Call, person: UserId) -> Result<ActingAs, Failure> {
    match call.caller.user {
        None => Ok(ActingAs::Service),
        Some(user) if user.id == person => Ok(ActingAs::Person),
        Some(_) => Err(Failure::new(Reason::NotFound)),
    }
}
