//! The SQL of GetDeletion.

use haven_platform::{
    call::UserId,
    database::{Context, DbError},
    deadline::Deadline,
};

use super::erasure::{Erasures, find_in};
use crate::domain::erasure::Erasure;

impl Erasures {
    /// Reads the erasure of `person`, for a service. `None` when their account was not erased.
    ///
    /// # Errors
    ///
    /// When the database fails.
    pub async fn find(&self, person: UserId, deadline: Deadline) -> Result<Option<Erasure>, DbError> {
        let mut tx = self
            .database
            .begin("GetDeletion", Context::ServiceFor(person), deadline)
            .await?;
        let erasure = find_in(&mut tx, person).await?;
        tx.commit().await?;
        Ok(erasure)
    }
}
