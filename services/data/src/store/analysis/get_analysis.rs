//! GetAnalysis: reads one analysis.

use haven_platform::{
    call::UserId,
    database::{Context, DbError},
    deadline::Deadline,
};
use uuid::Uuid;

use super::{Analyses, AnalysisRow};
use crate::domain::analysis::SealedAnalysis;

impl Analyses {
    /// Returns the caller's analysis with this id; `None` when it does not exist.
    ///
    /// # Errors
    ///
    /// When the database fails.
    pub async fn get(
        &self,
        caller: UserId,
        id: Uuid,
        deadline: Deadline,
    ) -> Result<Option<SealedAnalysis>, DbError> {
        let mut tx = self
            .database
            .begin("GetAnalysis", Context::User(caller), deadline)
            .await?;
        let row = sqlx::query_as!(
            AnalysisRow,
            "
            SELECT /* GetAnalysis */
                   id, analysis_type, chat_score, first_number, last_number, details, key_id, triggered_milestone,
                created_at, version
            FROM data.analysis_results
            WHERE user_id = $1 AND id = $2",
            caller.as_uuid(),
            id,
        )
        .fetch_optional(&mut tx)
        .await?;
        tx.commit().await?;
        row.map(SealedAnalysis::try_from).transpose()
    }
}
