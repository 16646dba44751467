//! The erasure of an account: the request for it, and the record that remains afterwards.

use std::collections::BTreeMap;

use chrono::{DateTime, Utc};
use haven_platform::call::UserId;
use uuid::Uuid;

use super::{audit::Origin, outbox::Message};

/// The number of erased rows per table. Table names include the schema, such as `identity.users`.
pub type ErasedRows = BTreeMap<String, i64>;

/// An account to erase (DeleteAccount).
#[derive(Debug)]
pub struct NewErasure<'a> {
    /// The request's id: a retry with the same id gets the first answer.
    pub request_id: Uuid,
    /// The caller that requests the erasure.
    pub requester: Requester,
    /// The origin of the call, for the audit log.
    pub origin: &'a Origin,
    /// The message that makes data erase its rows. It names the person, and the caller delivers it until its lease ends.
    pub message: &'a Message,
    /// The time of the erasure.
    pub at: DateTime<Utc>,
}

/// The caller that requests an erasure.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Requester {
    /// The account's person, confirmed by their password.
    Person {
        /// The version of the password that was checked.
        password_version: i64,
        /// The session of the call. It does not end, so that the person can retry.
        session_id: Option<Uuid>,
    },
    /// A service, which needs no password.
    Service,
}

/// The record of an account that was erased.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Erasure {
    /// The id of the person whom the account belonged to.
    pub user_id: UserId,
    /// The id of the request that erased the account. A retry of that request gets the same answer.
    pub request_id: Uuid,
    /// The time at which this service erased its rows.
    pub requested_at: DateTime<Utc>,
    /// The rows that this service erased.
    pub erased: ErasedRows,
    /// Data's confirmation. `None` when data has not confirmed yet.
    pub receipt: Option<Receipt>,
}

/// Data's confirmation that it holds no more rows of a person.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Receipt {
    /// The rows that data erased.
    pub erased: ErasedRows,
    /// The time of the confirmation, by this service's clock.
    pub confirmed_at: DateTime<Utc>,
}
