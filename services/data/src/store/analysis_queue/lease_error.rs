//! The error of calls with a lease.

use haven_platform::database::DbError;
use thiserror::Error;

use crate::{
    job_metrics::{Outcome, count},
    store::request::id_taken,
};

/// The error of ExtendLease and FailJob.
#[derive(Debug, Error)]
pub enum LeaseError {
    /// The worker does not hold the job: the lease has expired or never existed, or the job was deleted.
    #[error("the lease is lost")]
    Lost,
    /// The request id belongs to a request with other content.
    #[error("the request id belongs to another request")]
    RequestIdReused,
    /// The database failed, or did not answer before the deadline.
    #[error(transparent)]
    Database(DbError),
}

// === impl LeaseError ===

impl LeaseError {
    /// Returns [`LeaseError::Lost`], and counts it in the metrics.
    pub(super) fn lost() -> Self {
        count(Outcome::LeaseLost, 1);
        Self::Lost
    }

    /// Returns whether the request id is taken, by the same request or by another one.
    pub(super) fn id_taken(&self) -> bool {
        matches!(self, Self::Database(error) if id_taken(error))
    }
}

impl From<DbError> for LeaseError {
    fn from(error: DbError) -> Self {
        match error.constraint() {
            // An erasure deleted the person and the job.
            Some("requests_user_id_fkey") => Self::lost(),
            _ => Self::Database(error),
        }
    }
}
