//! ListAnalyses: reads pages of analyses by keyset.

use haven_platform::{
    call::UserId,
    database::{Context, DbError},
    deadline::Deadline,
    page::{Page, PageSize},
};

use super::{Analyses, AnalysisRow};
use crate::domain::{analysis::SealedAnalysis, message::MessageNumber};

impl Analyses {
    /// Returns a page of the caller's analyses, those of the newest messages first. With `before`, the page starts at
    /// the analyses that end before this message.
    ///
    /// # Errors
    ///
    /// When the database fails.
    pub async fn list(
        &self,
        caller: UserId,
        before: Option<MessageNumber>,
        size: PageSize,
        deadline: Deadline,
    ) -> Result<Page<SealedAnalysis>, DbError> {
        let mut tx = self
            .database
            .begin("ListAnalyses", Context::User(caller), deadline)
            .await?;
        let rows = sqlx::query_as!(
            AnalysisRow,
            "
            SELECT /* ListAnalyses */
                   id, analysis_type, chat_score, first_number, last_number, details, key_id, triggered_milestone,
                created_at, version
            FROM data.analysis_results
            WHERE user_id = $1 AND last_number < $2
            ORDER BY last_number DESC
            LIMIT $3",
            caller.as_uuid(),
            before.map_or(i64::MAX, MessageNumber::get),
            size.limit(),
        )
        .fetch_all(&mut tx)
        .await?;
        tx.commit().await?;
        Page::try_from_rows(rows, size)
    }
}
