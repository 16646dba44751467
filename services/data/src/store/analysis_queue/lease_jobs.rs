//! LeaseJobs: leases due jobs and reads their messages.

use haven_platform::{
    call::UserId,
    database::{Claim, Context, DbError, TenantTx},
    deadline::Deadline,
};
use uuid::Uuid;

use super::{Queue, expire::expire};
use crate::{
    domain::{
        job::{LeaseRequest, LeasedJob, PRIORITY_AUTOMATIC, PRIORITY_REQUESTED},
        lease::{Lease, LeaseToken},
        message::SealedMessage,
    },
    job_metrics::{Outcome, count},
    store::{analysis::range, conversation::MessageRow},
};

/// The most bytes of sealed text that are sent with one job; three quarters of them are text. Ten such jobs fit into
/// the 4 MiB that gRPC clients accept by default. A person's own messages, at most 25 of 2,000 characters, always fit.
const MAX_JOB_BYTES: i64 = 384 * 1024;

/// The most messages of other senders that are sent with one job, the newest first. Between two messages of a person
/// there may be any number of them; those that are not sent are counted and not read.
const MAX_OTHER_MESSAGES: i64 = 200;

impl Queue {
    /// Returns the jobs that the request's tokens already hold. When they hold none, leases the due jobs of the highest
    /// priority. Empty when no job is due.
    ///
    /// # Errors
    ///
    /// When the database fails. Jobs may have been leased; a retry with the same token returns them.
    pub async fn lease(
        &self,
        request: &LeaseRequest<'_>,
        deadline: Deadline,
    ) -> Result<Vec<LeasedJob>, DbError> {
        let mut jobs = self.take(request, deadline).await?;
        if !jobs.is_empty() {
            let token = jobs.first().map_or(request.token, |job| job.lease.token);
            self.read_messages(token, &mut jobs, deadline).await?;
        }
        Ok(jobs)
    }

    async fn take(&self, request: &LeaseRequest<'_>, deadline: Deadline) -> Result<Vec<LeasedJob>, DbError> {
        let mut tx = self
            .database
            .begin("LeaseJobs", Context::Service, deadline)
            .await?;
        let tokens = tokens(request);
        let digests: Vec<Vec<u8>> = tokens.iter().map(|token| token.digest().to_vec()).collect();
        lock_tokens(&mut tx, &tokens).await?;
        let expired = expire(&mut tx).await?;
        let rows = sqlx::query!(
            r#"
            WITH /* LeaseJobs */ held AS MATERIALIZED (
                SELECT user_id, id, first_number, last_number, attempts, lease_expires_at, priority, start_after, lease_digest
                FROM data.analysis_jobs
                WHERE state = 'leased' AND lease_digest = ANY ($5) AND lease_expires_at > now()
            ), due AS MATERIALIZED (
                SELECT job.user_id, job.id
                FROM unnest($6::smallint[]) AS each (priority), LATERAL (
                    SELECT user_id, id FROM data.analysis_jobs
                    WHERE state = 'queued' AND priority = each.priority AND start_after <= now()
                        AND NOT EXISTS (SELECT FROM held)
                    ORDER BY start_after
                    LIMIT $2
                    FOR NO KEY UPDATE SKIP LOCKED
                ) AS job
                LIMIT $2
            ), taken AS (
                UPDATE data.analysis_jobs AS job
                SET state = 'leased', attempts = attempts + 1, lease_token = $1, lease_holder = $3,
                    lease_expires_at = now() + make_interval(secs => $4)
                FROM due WHERE job.user_id = due.user_id AND job.id = due.id
                RETURNING job.user_id, job.id, first_number, last_number, attempts, lease_expires_at, priority, start_after,
                    job.lease_digest
            )
            SELECT user_id AS "person!", id AS "id!", first_number AS "first_number!", last_number AS "last_number!",
                attempts AS "attempt!", lease_expires_at AS "expires_at!", is_new AS "is_new!",
                lease_digest AS "digest!"
            FROM (SELECT *, false AS is_new FROM held UNION ALL SELECT *, true FROM taken) AS job
            ORDER BY priority DESC, start_after"#,
            request.token.expose(),
            i64::from(request.max_jobs),
            request.holder,
            request.duration.as_secs_f64(),
            &digests,
            // Each priority by itself, the highest first: jobs that are not due lie between those of one priority and the next.
            &[PRIORITY_REQUESTED, PRIORITY_AUTOMATIC],
        )
        .fetch_all(&mut tx)
        .await?;
        tx.commit().await?;
        expired.count();
        let taken = rows.iter().filter(|row| row.is_new).count();
        count(Outcome::Leased, taken as u64);
        let jobs = rows.into_iter().map(|row| {
            let held = tokens.iter().find(|token| token.digest()[..] == row.digest[..]);
            let token = held.ok_or_else(|| DbError::unexpected("the digest of a lease"))?;
            Ok(LeasedJob {
                lease: Lease {
                    person: UserId::new(row.person),
                    job: row.id,
                    token: *token,
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

    /// Reads the messages of `jobs` with the claim of the lease: Row Level Security shows its holder these messages and
    /// no others. When a lease expires meanwhile, its messages are missing; its job can no longer be completed.
    async fn read_messages(
        &self,
        token: LeaseToken,
        jobs: &mut [LeasedJob],
        deadline: Deadline,
    ) -> Result<(), DbError> {
        let mut tx = self
            .database
            .begin("LeaseJobs", Context::ServiceWith(lease_claim(token)), deadline)
            .await?;
        let digest = token.digest();
        let rows = sqlx::query!(
            r#"
            SELECT /* LeaseJobs, messages */ person AS "person!", job AS "job!", messages AS "messages!",
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
                WHERE j.state = 'leased' AND j.lease_digest = $1
            ) AS measured
            WHERE sender_type = 'user' OR bytes <= $2
            ORDER BY number"#,
            digest.as_slice(),
            MAX_JOB_BYTES,
            MAX_OTHER_MESSAGES,
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
}

/// Returns the claim with which Row Level Security shows a lease's holder the messages of its jobs.
fn lease_claim(token: LeaseToken) -> Claim {
    Claim {
        name: "lease",
        value: token.expose(),
    }
}

/// Returns the tokens of `request`, in an order that does not depend on the order of the ring.
fn tokens(request: &LeaseRequest<'_>) -> Vec<LeaseToken> {
    let all = [&request.token].into_iter().chain(&request.other_tokens);
    let mut tokens: Vec<LeaseToken> = all.copied().collect();
    tokens.sort_unstable_by_key(|token| token.expose());
    tokens
}

/// Locks `tokens` until the transaction ends. Calls with the same tokens are one request and its retries: each waits here
/// for the one before it, so that its next statement sees the jobs that are already leased.
async fn lock_tokens(tx: &mut TenantTx, tokens: &[LeaseToken]) -> Result<(), DbError> {
    let tokens: Vec<Uuid> = tokens.iter().map(|token| token.expose()).collect();
    // Hashed, because the keys of advisory locks are visible in pg_locks.
    sqlx::query!(
        "SELECT /* LeaseJobs, turn */ pg_advisory_xact_lock(hashtextextended(token::text, 0)) FROM unnest($1::uuid[]) AS token",
        &tokens,
    )
    .fetch_all(tx)
    .await?;
    Ok(())
}
