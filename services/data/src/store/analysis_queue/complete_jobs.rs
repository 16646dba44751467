//! CompleteJob and CompleteJobs: store analyses and end their jobs.
//!
//! The function `data.complete_jobs_1` does all of it, each job by itself and as its person. Two calls that complete jobs of the
//! same people lock them in one order, so they cannot deadlock.

use chrono::{DateTime, Utc};
use haven_platform::{
    database::{Context, DbError, Effect},
    deadline::Deadline,
};
use uuid::Uuid;

use super::Queue;
use crate::{
    domain::{
        completion::{Completion, CompletionRefusal},
        milestone::Milestone,
    },
    job_metrics::{Outcome, count},
    store::request::{id_taken, retry_once},
};

/// The outcome of one completion: the time at which the analysis was stored, or the reason why it was not.
pub type Completed = Result<DateTime<Utc>, CompletionRefusal>;

/// The arguments of the function: one array for each, with an element of each completion.
#[derive(Debug, Default)]
struct Columns {
    people: Vec<Uuid>,
    jobs: Vec<Uuid>,
    digests: Vec<Vec<u8>>,
    attempts: Vec<i16>,
    requests: Vec<Uuid>,
    /// The hashes under each key of the ring, one completion after the other.
    macs: Vec<Vec<u8>>,
    types: Vec<String>,
    scores: Vec<i16>,
    details: Vec<String>,
    keys: Vec<String>,
    milestones: Vec<Option<String>>,
}

// === impl Queue ===

impl Queue {
    /// Stores the analyses and ends their jobs, all at the time `at`. Returns the outcome of each, in the order of `completions`:
    /// the time at which the analysis was stored, which is that of an earlier commit when its request was committed before.
    ///
    /// # Errors
    ///
    /// When the database fails, or when the rows of the only completion are held by another call for too long. Some or all jobs may be
    /// completed then: a retry gets their answers.
    pub async fn complete(
        &self,
        completions: &[Completion],
        at: DateTime<Utc>,
        deadline: Deadline,
    ) -> Result<Vec<Completed>, DbError> {
        retry_once(id_taken, || self.try_complete(completions, at, deadline)).await
    }

    async fn try_complete(
        &self,
        completions: &[Completion],
        at: DateTime<Utc>,
        deadline: Deadline,
    ) -> Result<Vec<Completed>, DbError> {
        let mut order: Vec<usize> = (0..completions.len()).collect();
        order.sort_by_key(|place| {
            let lease = &completions[*place].lease;
            (*lease.person.as_uuid(), lease.job)
        });
        let columns = Columns::of(order.iter().map(|place| &completions[*place]));
        // The function sets the claims of each in turn.
        let people = columns.people;
        let rows = self
            .database
            .call("CompleteJobs", Context::Service, Effect::Repeatable, deadline)
            .fetch_all(|| {
                sqlx::query!(
                    r#"
                    SELECT /* CompleteJobs */ item AS "item!", outcome AS "outcome!", created_at
                    FROM data.complete_jobs_1($1, $2, $3, $4, $5, $6, $7, $8, $9, $10, $11, $12)"#,
                    &people,
                    &columns.jobs,
                    &columns.digests,
                    &columns.attempts,
                    &columns.requests,
                    &columns.macs,
                    &columns.types,
                    &columns.scores,
                    &columns.details,
                    &columns.keys,
                    &columns.milestones as &[Option<String>],
                    at,
                )
            })
            .await?;
        let unexpected = || DbError::unexpected("the outcome of a completion");
        let mut outcomes = vec![None; completions.len()];
        let (mut completed, mut lost) = (0, 0);
        for row in rows {
            let place = usize::try_from(row.item - 1).ok();
            let place = place.and_then(|item| order.get(item)).ok_or_else(unexpected)?;
            outcomes[*place] = Some(match (row.outcome.as_str(), row.created_at) {
                ("completed", Some(at)) => {
                    completed += 1;
                    Ok(at)
                }
                ("repeated", Some(at)) => Ok(at),
                ("reused", _) => Err(CompletionRefusal::RequestIdReused),
                ("busy", _) => Err(CompletionRefusal::Busy),
                ("lost", _) => {
                    lost += 1;
                    Err(CompletionRefusal::LeaseLost)
                }
                _ => return Err(unexpected()),
            });
        }
        count(Outcome::Completed, completed);
        count(Outcome::LeaseLost, lost);
        outcomes
            .into_iter()
            .map(|outcome| outcome.ok_or_else(unexpected))
            .collect()
    }
}

// === impl Columns ===

impl Columns {
    fn of<'a>(completions: impl Iterator<Item = &'a Completion>) -> Self {
        let mut columns = Self::default();
        for Completion {
            lease,
            analysis,
            request,
        } in completions
        {
            columns.people.push(*lease.person.as_uuid());
            columns.jobs.push(lease.job);
            columns.digests.push(lease.token.digest().to_vec());
            columns.attempts.push(lease.attempt);
            columns.requests.push(request.id);
            columns.macs.extend(request.payload_macs.to_vecs());
            columns.types.push(analysis.analysis_type.as_str().to_owned());
            columns.scores.push(analysis.chat_score.tenths());
            columns.details.push(analysis.details.token.clone());
            columns.keys.push(analysis.details.key_id.clone());
            let milestone = analysis.triggered_milestone.as_ref().map(Milestone::as_str);
            columns.milestones.push(milestone.map(ToOwned::to_owned));
        }
        columns
    }
}
