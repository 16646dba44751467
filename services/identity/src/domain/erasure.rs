//! The erasure of an account: what stays of it.

use std::collections::BTreeMap;

use chrono::{DateTime, Utc};
use haven_platform::call::UserId;
use uuid::Uuid;

/// How many rows of each table were erased, by its name with the schema's.
pub type ErasedRows = BTreeMap<String, i64>;

/// An account that was erased.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Erasure {
    /// Whose it was.
    pub user_id: UserId,
    /// The request that asked for it: its retry gets the same answer.
    pub request_id: Uuid,
    /// When it was erased here.
    pub requested_at: DateTime<Utc>,
    /// What was erased here.
    pub erased: ErasedRows,
    /// What data says about its part. None: it has not confirmed yet.
    pub receipt: Option<Receipt>,
}

/// Data's word that it has nothing of a person any more.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Receipt {
    /// What was erased there.
    pub erased: ErasedRows,
    /// When it said so, by this service's clock.
    pub confirmed_at: DateTime<Utc>,
}
