//! Analyses: the SQL of AnalysisService.

mod delete_analysis;
mod get_analysis;
mod list_analyses;
pub mod request_analysis;

pub use self::delete_analysis::DeleteError;

use std::sync::Arc;

use chrono::{DateTime, Utc};
use haven_platform::database::{Database, DbError};
use uuid::Uuid;

use crate::domain::{
    analysis::{AnalysisType, ChatScore, SealedAnalysis},
    message::{MessageNumber, MessageRange},
    milestone::Milestone,
    sealing::Sealed,
};

/// The tables of analyses and of their jobs. Row Level Security limits each call to the rows of its caller.
#[derive(Clone, Debug)]
pub struct Analyses {
    database: Arc<Database>,
}

// === impl Analyses ===

impl Analyses {
    /// Returns the analyses in `database`.
    #[must_use]
    pub fn new(database: Arc<Database>) -> Self {
        Self { database }
    }
}

/// A row of `data.analysis_results`.
pub(in crate::store) struct AnalysisRow {
    pub(in crate::store) id: Uuid,
    pub(in crate::store) analysis_type: String,
    pub(in crate::store) chat_score: i16,
    pub(in crate::store) first_number: i64,
    pub(in crate::store) last_number: i64,
    pub(in crate::store) details: String,
    pub(in crate::store) key_id: String,
    pub(in crate::store) triggered_milestone: Option<String>,
    pub(in crate::store) created_at: DateTime<Utc>,
    pub(in crate::store) version: i64,
}

// === impl AnalysisRow ===

impl TryFrom<AnalysisRow> for SealedAnalysis {
    type Error = DbError;

    fn try_from(row: AnalysisRow) -> Result<Self, DbError> {
        let milestone =
            |name| Milestone::parse(name).ok_or_else(|| DbError::unexpected("the milestone of an analysis"));
        Ok(Self {
            id: row.id,
            analysis_type: AnalysisType::from_name(&row.analysis_type)
                .ok_or_else(|| DbError::unexpected("the type of an analysis"))?,
            chat_score: ChatScore::new(row.chat_score)
                .ok_or_else(|| DbError::unexpected("the score of an analysis"))?,
            range: range(row.first_number, row.last_number)?,
            details: Sealed {
                token: row.details,
                key_id: row.key_id,
            },
            triggered_milestone: row.triggered_milestone.map(milestone).transpose()?,
            created_at: row.created_at,
            version: row.version,
        })
    }
}

/// Converts the two columns of a range of messages.
pub(in crate::store) fn range(first: i64, last: i64) -> Result<MessageRange, DbError> {
    MessageNumber::new(first)
        .zip(MessageNumber::new(last))
        .map(|(first, last)| MessageRange { first, last })
        .ok_or_else(|| DbError::unexpected("the range of an analysis"))
}
