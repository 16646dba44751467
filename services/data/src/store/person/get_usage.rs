//! GetUsage: reads the counters of a person.

use haven_platform::{
    call::UserId,
    database::{Context, DbError},
    deadline::Deadline,
};
use sqlx::types::Json;
use std::collections::BTreeMap;

use super::People;
use crate::domain::quota::{Quota, Use};

impl People {
    /// Returns how much `person` uses of each quota. A person without rows, known or not, uses nothing.
    ///
    /// # Errors
    ///
    /// When the database fails.
    pub async fn usage(
        &self,
        person: UserId,
        by_service: bool,
        deadline: Deadline,
    ) -> Result<Vec<Use>, DbError> {
        let context = if by_service {
            Context::ServiceFor(person)
        } else {
            Context::User(person)
        };
        let mut tx = self.database.begin("GetUsage", context, deadline).await?;
        // The columns have the names of the quotas.
        let counters = sqlx::query_scalar!(
            r#"
            SELECT /* GetUsage */ to_jsonb(u) - '{user_id,mutations_until,mutations_reset_at}'::text[] AS "counters!: Json<BTreeMap<String, i64>>"
            FROM data.usage_counters AS u WHERE u.user_id = $1"#,
            person.as_uuid(),
        )
        .fetch_optional(&mut tx)
        .await?;
        tx.commit().await?;
        let counters = counters.map(|json| json.0).unwrap_or_default();
        let uses = Quota::ALL.map(|quota| Use {
            quota,
            used: counters
                .get(quota.name())
                .map_or(0, |used| u64::try_from(*used).unwrap_or_default()),
        });
        Ok(uses.into())
    }
}
