//! The audit chains of all people, page by page, for verification.

use std::{sync::Arc, time::Duration};

use haven_platform::{
    database::{Context, Database, DbError},
    deadline::Deadline,
};
use uuid::Uuid;

use crate::domain::audit_chain::{ChainEnds, ChainedEvent};

/// The maximum number of rows of a page.
const PAGE_SIZE: i64 = 1000;

/// The timeout of one page, long enough for a slow disk.
const TIMEOUT: Duration = Duration::from_secs(600);

/// The chains of all people, read as the service.
#[derive(Debug)]
pub struct AuditChains {
    database: Arc<Database>,
}

/// A chain's ends and one of its events, from the same snapshot of the database.
#[derive(Debug)]
pub struct ChainRow {
    /// The id of the chain's person.
    pub person: Uuid,
    /// The two ends of the chain.
    pub ends: ChainEnds,
    /// The chain's next event. `None` when there are no more.
    pub event: Option<ChainedEvent>,
}

/// A page of rows, in the order of the persons' ids and the events' numbers.
#[derive(Debug)]
pub struct ChainPage {
    /// The rows of the page, up to 1,000.
    pub rows: Vec<ChainRow>,
    /// `true` when there may be more rows, also of the last row's person.
    pub more: bool,
}

impl AuditChains {
    /// The chains in `database`.
    #[must_use]
    pub fn new(database: Arc<Database>) -> Self {
        Self { database }
    }

    /// Reads the rows after event number `after` of the chain of `person`, then the rows of the persons with greater
    /// ids. A chain without further events has one row. A person who is being erased in batches has none.
    ///
    /// Uses one statement, so that ends and events are from the same snapshot.
    ///
    /// # Errors
    ///
    /// When the database fails.
    pub async fn page(&self, person: Uuid, after: i64) -> Result<ChainPage, DbError> {
        let mut tx = self
            .database
            .begin("AuditChains.page", Context::Service, Deadline::after(TIMEOUT))
            .await?;
        let rows = sqlx::query!(
            r#"
            SELECT /* AuditChains.page */ c.user_id, c.trimmed_number, c.trimmed_digest, c.last_number, c.last_digest,
                   e.number AS "number?", e.event AS "event?", e.refused AS "refused?", e.service, e.session_id,
                   e.network_mac, e.digest AS "digest?",
                   CASE WHEN isfinite(e.occurred_at) THEN (extract(epoch FROM e.occurred_at) * 1000000)::bigint END
                       AS micros
            FROM identity.audit_chains AS c LEFT JOIN LATERAL (
                SELECT * FROM identity.security_audit_log AS l
                WHERE l.user_id = c.user_id
                    AND l.number > CASE c.user_id WHEN $1 THEN $2 ELSE (-9223372036854775808)::bigint END
                ORDER BY l.number LIMIT $3
            ) AS e ON true
            WHERE c.user_id >= $1
                AND NOT EXISTS (SELECT FROM identity.erasures AS x WHERE x.user_id = c.user_id AND x.has_rows)
            ORDER BY c.user_id, e.number LIMIT $3"#,
            person,
            after,
            PAGE_SIZE,
        )
        .fetch_all(&mut tx)
        .await?;
        tx.commit().await?;
        let more = rows.len() as i64 == PAGE_SIZE;
        let rows = rows.into_iter().map(|row| ChainRow {
            person: row.user_id,
            ends: ChainEnds {
                trimmed_number: row.trimmed_number,
                trimmed_digest: row.trimmed_digest,
                last_number: row.last_number,
                last_digest: row.last_digest,
            },
            event: row.number.map(|number| ChainedEvent {
                number,
                event: row.event.unwrap_or_default(),
                refused: row.refused.unwrap_or_default(),
                service: row.service,
                session_id: row.session_id,
                network_mac: row.network_mac,
                micros: row.micros,
                digest: row.digest.unwrap_or_default(),
            }),
        });
        Ok(ChainPage {
            rows: rows.collect(),
            more,
        })
    }

    /// Reads a page of the persons after `person` who have events but no chain, each with the number of their first
    /// event.
    ///
    /// # Errors
    ///
    /// When the database fails.
    pub async fn strays(&self, person: Uuid) -> Result<Vec<(Uuid, i64)>, DbError> {
        let mut tx = self
            .database
            .begin("AuditChains.strays", Context::Service, Deadline::after(TIMEOUT))
            .await?;
        let rows = sqlx::query!(
            r#"
            SELECT /* AuditChains.strays */ user_id, min(number) AS "number!" FROM identity.security_audit_log AS l
            WHERE user_id > $1 AND NOT EXISTS (SELECT FROM identity.audit_chains AS c WHERE c.user_id = l.user_id)
                AND NOT EXISTS (SELECT FROM identity.erasures AS x WHERE x.user_id = l.user_id AND x.has_rows)
            GROUP BY user_id ORDER BY user_id LIMIT $2"#,
            person,
            PAGE_SIZE,
        )
        .fetch_all(&mut tx)
        .await?;
        tx.commit().await?;
        Ok(rows.into_iter().map(|row| (row.user_id, row.number)).collect())
    }
}
