//! LeaseJobs and ExtendLease: how a worker gets jobs, and keeps them.

use std::time::Duration;

use haven_platform::{call::Call, deadline::Deadline, failure::Failure, reason::Reason, time::timestamp};
use haven_proto::data::v1::{
    self as proto, ExtendLeaseRequest, ExtendLeaseResponse, JobLease, LeaseJobsRequest, LeaseJobsResponse,
};
use tokio::time::{Instant, sleep_until};
use uuid::Uuid;

use super::{
    super::{DataRpc, caller_service, conversation},
    lease::{self as parsing, LeaseJobs},
};
use crate::{
    domain::{
        error_code::ErrorCode,
        lease::{Lease, LeaseToken, RESTS, rests},
        sealing::OpenError,
    },
    store::analysis_queue::{
        complete_job::LeaseError,
        fail_job::Failed,
        lease_jobs::{LeaseRequest, LeasedJob},
    },
};

/// What a call keeps for its answer when it waits: an answer without jobs is better than none.
const RESERVE: Duration = Duration::from_millis(200);

/// A message that does not open.
struct Unreadable {
    message: Uuid,
    cause: OpenError,
}

impl DataRpc {
    pub(in crate::rpc) async fn lease_jobs_of(
        &self,
        call: &Call,
        request: LeaseJobsRequest,
    ) -> Result<LeaseJobsResponse, Failure> {
        let service = caller_service(call)?;
        let LeaseJobs {
            max_jobs,
            wait,
            duration,
            request_id,
        } = parsing::lease_jobs(&request)?;
        let service = service.as_str();
        // Other content is another request, although its id is the same: it must not be answered with the first one's jobs.
        let content = self.leases.mac(&[
            service.as_bytes(),
            request_id.as_bytes(),
            &[max_jobs],
            &duration.as_nanos().to_be_bytes(),
        ]);
        let wish = LeaseRequest {
            token: LeaseToken::of(content),
            holder: service,
            max_jobs,
            duration,
        };
        let until = Instant::now() + wait.min(call.deadline.remaining().saturating_sub(RESERVE));
        let mut jobs = self.look_for_jobs(&wish, call.deadline).await?;
        if jobs.is_empty() && Instant::now() < until {
            jobs = self.wait_for_jobs(&wish, until, call.deadline).await?;
        }
        Ok(LeaseJobsResponse { jobs })
    }

    /// The first jobs that there are for `wish` before `until`, opened. Who waits stands in line, and only the first in it
    /// looks: what comes is for whoever has waited longest, and the next one looks when that one has got it.
    async fn wait_for_jobs(
        &self,
        wish: &LeaseRequest<'_>,
        until: Instant,
        deadline: Deadline,
    ) -> Result<Vec<proto::LeasedJob>, Failure> {
        let _first = tokio::select! {
            biased;
            () = self.stop.cancelled() => return Ok(Vec::new()),
            () = sleep_until(until) => return Ok(Vec::new()),
            first = self.line.lock() => first,
        };
        let mut waiting = self.new_jobs.wait();
        loop {
            let jobs = self.look_for_jobs(wish, deadline).await?;
            if !jobs.is_empty() || Instant::now() >= until {
                return Ok(jobs);
            }
            tokio::select! {
                biased;
                () = self.stop.cancelled() => return Ok(Vec::new()),
                () = waiting.next(until) => {}
            }
        }
    }

    /// The jobs that there are for `wish` now, opened. None: no others are due, either.
    async fn look_for_jobs(
        &self,
        wish: &LeaseRequest<'_>,
        deadline: Deadline,
    ) -> Result<Vec<proto::LeasedJob>, Failure> {
        // Each look that finds nothing but what does not open costs those jobs an attempt, so it comes to an end.
        loop {
            let leased = self.queue.lease(wish, deadline).await?;
            let mut again = !leased.is_empty();
            let mut jobs = Vec::new();
            for job in leased {
                let lease = job.lease;
                match self.open_job(job) {
                    Ok(job) => jobs.push(job),
                    Err(unreadable) => again &= self.withdraw_unreadable(&lease, &unreadable, deadline).await,
                }
            }
            if !jobs.is_empty() || !again {
                return Ok(jobs);
            }
        }
    }

    fn open_job(&self, job: LeasedJob) -> Result<proto::LeasedJob, Unreadable> {
        let person = job.lease.person;
        let messages = job.messages.into_iter().map(|sealed| {
            let message = sealed.id;
            let opened = sealed.open(&self.keys, person);
            let opened = opened.map_err(|cause| Unreadable { message, cause })?;
            Ok(conversation::answer(&opened))
        });
        Ok(proto::LeasedJob {
            lease: Some(JobLease {
                user_id: person.to_string(),
                job_id: job.lease.job.to_string(),
                lease_token: job.lease.token.expose().to_string(),
                attempt: job.lease.attempt.into(),
            }),
            lease_expire_time: Some(timestamp(job.expires_at)),
            first_number: job.range.first.get(),
            last_number: job.range.last.get(),
            messages: messages.collect::<Result<_, _>>()?,
            omitted_messages: i32::try_from(job.omitted).unwrap_or(i32::MAX),
        })
    }

    /// Takes a job back that no worker can do: others are not to wait for it, and operators are to know. Answers whether it
    /// is nobody's now.
    async fn withdraw_unreadable(&self, lease: &Lease, unreadable: &Unreadable, deadline: Deadline) -> bool {
        tracing::error!(
            user_id = %lease.person, job = %lease.job, message = %unreadable.message, cause = %unreadable.cause,
            "a message that is to be analysed does not open"
        );
        let failed = Failed {
            error: &ErrorCode::MESSAGES_UNREADABLE,
            rests: self.rests(),
        };
        match self.queue.withdraw(lease, failed, deadline).await {
            Ok(()) | Err(LeaseError::Lost) => true,
            Err(error) => {
                tracing::warn!(%error, job = %lease.job, "a job is not taken back before its lease runs out");
                false
            }
        }
    }

    /// For how many seconds a job rests after an attempt that failed: [`RESTS`], jittered.
    pub(in crate::rpc) fn rests(&self) -> [f64; RESTS.len()] {
        let mut jitter = [0; 4];
        self.entropy.fill(&mut jitter);
        rests(u32::from_be_bytes(jitter))
    }

    pub(in crate::rpc) async fn extend_lease_of(
        &self,
        call: &Call,
        request: ExtendLeaseRequest,
    ) -> Result<ExtendLeaseResponse, Failure> {
        let (lease, duration) = parsing::extend_lease(&request)?;
        let expires_at = self.queue.extend(&lease, duration, call.deadline).await?;
        Ok(ExtendLeaseResponse {
            lease_expire_time: Some(timestamp(expires_at)),
        })
    }
}

impl From<LeaseError> for Failure {
    fn from(error: LeaseError) -> Self {
        match error {
            LeaseError::Lost => Self::new(Reason::LeaseLost),
            LeaseError::RequestIdReused => Self::new(Reason::RequestIdReused),
            LeaseError::Database(error) => error.into(),
        }
    }
}
