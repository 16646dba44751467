//! LeaseJobs: leases due jobs and reads their messages.
//!
//! The function `data.lease_jobs_1` does all of it: it puts jobs with expired leases back, takes the due ones, and reads their
//! messages with the claim of the lease.

use chrono::{DateTime, Utc};
use haven_platform::{
    call::UserId,
    database::{Context, DbError, Effect},
    deadline::Deadline,
};
use uuid::Uuid;

use super::{Queue, expire::Expired};
use crate::{
    domain::{
        job::{LeaseRequest, LeasedJob, PRIORITY_AUTOMATIC, PRIORITY_REQUESTED},
        lease::{Lease, LeaseToken},
        message::SealedMessage,
        retry_delay::{LOST_LEASE_DELAYS, RETRY_DELAYS},
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
    /// Returns the jobs that the request's tokens already hold, with their messages. When they hold none, leases the due jobs of
    /// the highest priority. Empty when no job is due. Jobs with expired leases are put back first.
    ///
    /// Row Level Security shows the messages of these jobs and no others, by the claim of their lease.
    ///
    /// # Errors
    ///
    /// When the database fails. Jobs may have been leased; a retry with the same token returns them.
    pub async fn lease(
        &self,
        request: &LeaseRequest<'_>,
        deadline: Deadline,
    ) -> Result<Vec<LeasedJob>, DbError> {
        let (lease, tokens) = (request.token.expose(), tokens(request));
        let rows = self
            .database
            .call("LeaseJobs", Context::Service, Effect::Repeatable, deadline)
            .fetch_all(|| {
                sqlx::query_as!(
                    Row,
                    r#"
                    SELECT /* LeaseJobs */ failed AS "failed!", lost AS "lost!", dead_of_failures AS "dead_of_failures!",
                        dead_of_losses AS "dead_of_losses!", taken AS "taken!", lease, person, job, first_number, last_number,
                        attempt, expires_at, messages, id, number, sender_type, message_text, key_id, created_at, updated_at,
                        version
                    FROM data.lease_jobs_1($1, $2, $3, $4, $5, $6, $7, $8, $9, $10)"#,
                    lease,
                    &tokens,
                    i32::from(request.max_jobs),
                    request.holder,
                    request.duration.as_secs_f64(),
                    // Each priority by itself, the highest first: jobs that are not due lie between those of one priority and the next.
                    &[PRIORITY_REQUESTED, PRIORITY_AUTOMATIC],
                    &RETRY_DELAYS,
                    &LOST_LEASE_DELAYS,
                    MAX_JOB_BYTES,
                    MAX_OTHER_MESSAGES,
                )
            })
            .await?;
        if let Some(row) = rows.first() {
            row.expired().count();
            count(Outcome::Leased, row.taken.unsigned_abs());
        }
        let mut jobs: Vec<LeasedJob> = Vec::new();
        for row in rows {
            let Some(job) = row.job()? else { continue };
            match jobs.last_mut() {
                Some(last) if last.lease == job.lease => {}
                _ => jobs.push(job),
            }
            let stored = row.messages.unwrap_or_default().unsigned_abs();
            let (Some(job), message) = (jobs.last_mut(), row.message()?) else {
                continue;
            };
            job.messages.extend(message);
            job.omitted = stored.saturating_sub(job.messages.len() as u64);
        }
        Ok(jobs)
    }
}

/// A row of the function: a message of a job; a job without messages; or neither, when there is no job.
struct Row {
    failed: i64,
    lost: i64,
    dead_of_failures: i64,
    dead_of_losses: i64,
    taken: i64,
    lease: Option<Uuid>,
    person: Option<Uuid>,
    job: Option<Uuid>,
    first_number: Option<i64>,
    last_number: Option<i64>,
    attempt: Option<i16>,
    expires_at: Option<DateTime<Utc>>,
    messages: Option<i64>,
    id: Option<Uuid>,
    number: Option<i64>,
    sender_type: Option<String>,
    message_text: Option<String>,
    key_id: Option<String>,
    created_at: Option<DateTime<Utc>>,
    updated_at: Option<DateTime<Utc>>,
    version: Option<i64>,
}

// === impl Row ===

impl Row {
    /// Returns the numbers of jobs with expired leases.
    fn expired(&self) -> Expired {
        Expired {
            failed: self.failed.unsigned_abs(),
            lost: self.lost.unsigned_abs(),
            dead_of_failures: self.dead_of_failures.unsigned_abs(),
            dead_of_losses: self.dead_of_losses.unsigned_abs(),
        }
    }

    /// Returns the job, without messages.
    fn job(&self) -> Result<Option<LeasedJob>, DbError> {
        let Some(job) = self.job else { return Ok(None) };
        let parts = self.lease.zip(self.person).zip(self.attempt).zip(self.expires_at);
        let numbers = self.first_number.zip(self.last_number);
        let unexpected = || DbError::unexpected("a leased job");
        let ((((token, person), attempt), expires_at), (first, last)) =
            parts.zip(numbers).ok_or_else(unexpected)?;
        Ok(Some(LeasedJob {
            lease: Lease {
                person: UserId::new(person),
                job,
                token: LeaseToken::new(token),
                attempt,
            },
            expires_at,
            range: range(first, last)?,
            messages: Vec::new(),
            omitted: 0,
        }))
    }

    /// Returns the message, if there is one.
    fn message(self) -> Result<Option<SealedMessage>, DbError> {
        let Some(id) = self.id else { return Ok(None) };
        let row = || {
            Some(MessageRow {
                id,
                number: self.number?,
                sender_type: self.sender_type?,
                message_text: self.message_text?,
                key_id: self.key_id?,
                created_at: self.created_at?,
                updated_at: self.updated_at?,
                version: self.version?,
            })
        };
        let row = row().ok_or_else(|| DbError::unexpected("a message of a job"))?;
        Ok(Some(SealedMessage::try_from(row)?))
    }
}

/// Returns the tokens of `request`, in an order that does not depend on the order of the ring. Calls with the same tokens lock
/// them in this order.
fn tokens(request: &LeaseRequest<'_>) -> Vec<Uuid> {
    let all = [&request.token].into_iter().chain(&request.other_tokens);
    let mut tokens: Vec<Uuid> = all.map(|token| token.expose()).collect();
    tokens.sort_unstable();
    tokens
}
