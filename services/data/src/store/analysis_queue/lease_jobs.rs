//! Leasing jobs: taking those that are due, with their messages, and keeping them for longer.

use std::time::Duration;

use chrono::{DateTime, Utc};
use haven_platform::{
    call::UserId,
    database::{Claim, Context, DbError, TenantTx},
    deadline::Deadline,
};

use super::{Queue, complete_job::LeaseError, expire};
use crate::{
    domain::{
        analysis::MessageRange,
        lease::{Lease, LeaseToken},
        message::SealedMessage,
    },
    job_metrics::{Outcome, count},
    store::{analysis::range, conversation::MessageRow},
};

/// At most so many bytes of sealed text go with one job (three quarters of which are text): ten jobs stay below the 4 MiB
/// that a gRPC client takes unless told otherwise. A person's own messages, 25 of 2,000 characters at most, always fit.
const JOB_BYTES: i64 = 384 * 1024;

/// Of what others said in a job's range, at most the newest so many go with it. There is no bound to how much they say
/// between two messages of a person: what is not sent is counted, and not read.
const JOB_OTHERS: i64 = 200;

/// What a worker wants.
#[derive(Clone, Copy, Debug)]
pub struct LeaseRequest<'a> {
    /// What its jobs will be held by.
    pub token: LeaseToken,
    /// The worker's name.
    pub holder: &'a str,
    /// At most how many jobs: 1 to 10.
    pub max_jobs: u8,
    /// For how long it wants them.
    pub duration: Duration,
}

/// A job that is a worker's, with its messages.
#[derive(Debug)]
pub struct LeasedJob {
    /// What shows that it is.
    pub lease: Lease,
    /// Until when, by the database's clock.
    pub expires_at: DateTime<Utc>,
    /// The messages that it covers.
    pub range: MessageRange,
    /// Those of them that are there and are sent, in the order of their numbers.
    pub messages: Vec<SealedMessage>,
    /// How many are there and are not sent.
    pub omitted: u64,
}

impl Queue {
    /// The jobs that are held by `wish.token` already, or else the most urgent that are due, which are so from now on. None:
    /// there are none.
    ///
    /// # Errors
    ///
    /// When the database fails. Jobs may be held then all the same: asking again answers them.
    pub async fn lease(
        &self,
        wish: &LeaseRequest<'_>,
        deadline: Deadline,
    ) -> Result<Vec<LeasedJob>, DbError> {
        let mut jobs = self.take(wish, deadline).await?;
        if !jobs.is_empty() {
            self.read(wish.token, &mut jobs, deadline).await?;
        }
        Ok(jobs)
    }

    async fn take(&self, wish: &LeaseRequest<'_>, deadline: Deadline) -> Result<Vec<LeasedJob>, DbError> {
        let mut tx = self
            .database
            .begin("LeaseJobs", Context::Service, deadline)
            .await?;
        wait_for_own_turn(&mut tx, wish.token).await?;
        let expired = expire(&mut tx).await?;
        let rows = sqlx::query!(
            r#"/* LeaseJobs */
            WITH held AS MATERIALIZED (
                SELECT user_id, id, first_number, last_number, attempts, lease_expires_at, priority, start_after
                FROM data.analysis_jobs
                WHERE state = 'leased' AND lease_token = $1 AND lease_expires_at > now()
            ), due AS MATERIALIZED (
                SELECT user_id, id FROM data.analysis_jobs
                WHERE state = 'queued' AND start_after <= now() AND NOT EXISTS (SELECT FROM held)
                ORDER BY priority DESC, start_after
                LIMIT $2
                FOR NO KEY UPDATE SKIP LOCKED
            ), taken AS (
                UPDATE data.analysis_jobs AS job
                SET state = 'leased', attempts = attempts + 1, lease_token = $1, lease_holder = $3,
                    lease_expires_at = now() + make_interval(secs => $4)
                FROM due WHERE job.user_id = due.user_id AND job.id = due.id
                RETURNING job.user_id, job.id, first_number, last_number, attempts, lease_expires_at, priority, start_after
            )
            SELECT user_id AS "person!", id AS "id!", first_number AS "first_number!", last_number AS "last_number!",
                attempts AS "attempt!", lease_expires_at AS "expires_at!", is_new AS "is_new!"
            FROM (SELECT *, false AS is_new FROM held UNION ALL SELECT *, true FROM taken) AS job
            ORDER BY priority DESC, start_after"#,
            wish.token.expose(),
            i64::from(wish.max_jobs),
            wish.holder,
            wish.duration.as_secs_f64(),
        )
        .fetch_all(&mut tx)
        .await?;
        tx.commit().await?;
        expired.count();
        let taken = rows.iter().filter(|row| row.is_new).count();
        count(Outcome::Leased, taken as u64);
        let jobs = rows.into_iter().map(|row| {
            Ok(LeasedJob {
                lease: Lease {
                    person: UserId::new(row.person),
                    job: row.id,
                    token: wish.token,
                    attempt: row.attempt,
                },
                expires_at: row.expires_at,
                range: range(row.first_number, row.last_number)?,
                messages: Vec::new(),
                omitted: 0,
            })
        });
        jobs.collect()
    }

    /// Reads the messages of `jobs`, as the holder of their lease, who is shown them and no others. Where a lease runs out
    /// meanwhile, its messages are not: its job cannot be completed any more.
    async fn read(
        &self,
        token: LeaseToken,
        jobs: &mut [LeasedJob],
        deadline: Deadline,
    ) -> Result<(), DbError> {
        let mut tx = self
            .database
            .begin("LeaseJobs", Context::ServiceWith(lease_claim(token)), deadline)
            .await?;
        let rows = sqlx::query!(
            r#"/* LeaseJobs, messages */
            SELECT person AS "person!", job AS "job!", messages AS "messages!",
                id AS "id!", number AS "number!", sender_type AS "sender_type!", message_text AS "message_text!",
                key_id AS "key_id!", created_at AS "created_at!", updated_at AS "updated_at!", version AS "version!"
            FROM (
                SELECT j.user_id AS person, j.id AS job, counted.messages, c.*,
                    sum(octet_length(c.message_text)) OVER (
                        PARTITION BY j.user_id, j.id ORDER BY c.sender_type = 'user' DESC, c.number DESC) AS bytes
                FROM data.analysis_jobs AS j, LATERAL (
                    SELECT count(*) AS messages FROM data.conversations AS c
                    WHERE c.user_id = j.user_id AND c.number BETWEEN j.first_number AND j.last_number
                ) AS counted, LATERAL (
                    SELECT * FROM data.conversations AS c
                    WHERE c.user_id = j.user_id AND c.number BETWEEN j.first_number AND j.last_number
                        AND c.sender_type = 'user'
                    UNION ALL
                    (SELECT * FROM data.conversations AS c
                    WHERE c.user_id = j.user_id AND c.number BETWEEN j.first_number AND j.last_number
                        AND c.sender_type <> 'user'
                    ORDER BY c.number DESC
                    LIMIT $3)
                ) AS c
                WHERE j.state = 'leased' AND j.lease_token = $1
            ) AS measured
            WHERE sender_type = 'user' OR bytes <= $2
            ORDER BY number"#,
            token.expose(),
            JOB_BYTES,
            JOB_OTHERS,
        )
        .fetch_all(&mut tx)
        .await?;
        tx.commit().await?;
        for row in rows {
            let of_row =
                |job: &&mut LeasedJob| (job.lease.person.as_uuid(), job.lease.job) == (&row.person, row.job);
            let Some(job) = jobs.iter_mut().find(of_row) else {
                continue;
            };
            job.messages.push(SealedMessage::try_from(MessageRow {
                id: row.id,
                number: row.number,
                sender_type: row.sender_type,
                message_text: row.message_text,
                key_id: row.key_id,
                created_at: row.created_at,
                updated_at: row.updated_at,
                version: row.version,
            })?);
            job.omitted = row
                .messages
                .unsigned_abs()
                .saturating_sub(job.messages.len() as u64);
        }
        Ok(())
    }

    /// Makes `lease` end so long from now. Answers when that is, by the database's clock.
    ///
    /// # Errors
    ///
    /// [`LeaseError::Lost`] when it is nobody's lease, or not any more.
    pub async fn extend(
        &self,
        lease: &Lease,
        duration: Duration,
        deadline: Deadline,
    ) -> Result<DateTime<Utc>, LeaseError> {
        let mut tx = self
            .database
            .begin("ExtendLease", Context::Service, deadline)
            .await?;
        let expires_at = sqlx::query_scalar!(
            r#"/* ExtendLease */
            UPDATE data.analysis_jobs SET lease_expires_at = now() + make_interval(secs => $5)
            WHERE user_id = $1 AND id = $2 AND lease_token = $3 AND attempts = $4
                AND state = 'leased' AND lease_expires_at > now()
            RETURNING lease_expires_at AS "expires_at!""#,
            lease.person.as_uuid(),
            lease.job,
            lease.token.expose(),
            lease.attempt,
            duration.as_secs_f64(),
        )
        .fetch_optional(&mut tx)
        .await
        .map_err(DbError::from)?;
        tx.commit().await?;
        expires_at.ok_or_else(LeaseError::lost)
    }
}

/// The claim by which row-level security shows a lease's holder the messages of its jobs.
fn lease_claim(token: LeaseToken) -> Claim {
    Claim {
        name: "lease",
        value: token.expose(),
    }
}

/// Of several calls with one token, which are one request and its retries, each waits here until the one before has taken
/// what it takes: the next one's statement then sees it.
async fn wait_for_own_turn(tx: &mut TenantTx, token: LeaseToken) -> Result<(), DbError> {
    // Hashed, because what is locked can be seen by whoever looks at locks.
    sqlx::query!(
        "/* LeaseJobs, turn */ SELECT pg_advisory_xact_lock(hashtextextended($1::uuid::text, 0))",
        token.expose(),
    )
    .fetch_one(tx)
    .await?;
    Ok(())
}
