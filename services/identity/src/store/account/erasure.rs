//! The records of erased accounts.

use std::sync::Arc;

use haven_platform::{
    call::UserId,
    database::{Database, DbError, TenantTx},
};
use sqlx::types::Json;

use crate::domain::erasure::{ErasedRows, Erasure, Receipt};

/// The erasures of all people. Each is accessed only in a context for its person.
#[derive(Clone, Debug)]
pub struct Erasures {
    pub(super) database: Arc<Database>,
}

impl Erasures {
    /// The erasures in `database`.
    #[must_use]
    pub fn new(database: Arc<Database>) -> Self {
        Self { database }
    }
}

/// Reads the erasure of the transaction's person, who is `person`. `None` when their account was not erased.
///
/// # Errors
///
/// When the database fails.
pub(super) async fn find_in(tx: &mut TenantTx, person: UserId) -> Result<Option<Erasure>, DbError> {
    let row = sqlx::query!(
        r#"
        SELECT /* Erasure.find */ request_id, requested_at, erased AS "erased: Json<ErasedRows>",
               data_erased AS "data_erased: Json<ErasedRows>", completed_at
        FROM identity.erasures WHERE user_id = $1"#,
        person.as_uuid(),
    )
    .fetch_optional(tx)
    .await?;
    Ok(row.map(|row| Erasure {
        user_id: person,
        request_id: row.request_id,
        requested_at: row.requested_at,
        erased: row.erased.0,
        receipt: row
            .data_erased
            .zip(row.completed_at)
            .map(|(erased, confirmed_at)| Receipt {
                erased: erased.0,
                confirmed_at,
            }),
    }))
}
