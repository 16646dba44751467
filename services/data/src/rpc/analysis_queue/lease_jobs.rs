//! LeaseJobs: leases due jobs to a worker, and waits for the first one if the worker asks for that.

use std::{ops::RangeInclusive, time::Duration};

use haven_platform::{
    call::Call,
    deadline::Deadline,
    failure::{Failure, Violation},
    handler::Handler,
    time::timestamp,
    violations::Violations,
};
use haven_proto::data::v1::{self as proto, JobLease, LeaseJobsRequest, LeaseJobsResponse};
use tokio::time::{Instant, sleep_until};
use uuid::Uuid;

use super::{
    AnalysisQueueRpc,
    lease::{DEFAULT_LEASE, LEASE_RANGE, parse_duration},
};
use crate::{
    domain::{
        error_code::ErrorCode,
        job::{FailedAttempt, LeaseRequest, LeasedJob},
        lease::{Lease, LeaseToken},
        sealing::OpenError,
    },
    rpc::{calling_service, conversation::message::message_to_proto},
    store::analysis_queue::LeaseError,
};

/// The maximum number of jobs that one call leases.
const MAX_JOBS: u8 = 10;

/// The durations that a call may wait for a job.
const WAIT_RANGE: RangeInclusive<Duration> = Duration::ZERO..=Duration::from_secs(30);

/// The time before the deadline at which a call stops waiting: a response without jobs is better than an exceeded
/// deadline.
const RESPONSE_RESERVE: Duration = Duration::from_millis(200);

/// The parsed [`LeaseJobsRequest`].
#[derive(Debug)]
struct Parsed {
    max_jobs: u8,
    wait: Duration,
    duration: Duration,
    request_id: Uuid,
}

/// A message that cannot be opened.
struct Unreadable {
    message: Uuid,
    cause: OpenError,
}

impl Handler<LeaseJobsRequest> for AnalysisQueueRpc {
    type Answer = LeaseJobsResponse;

    async fn handle(&self, call: &Call, request: LeaseJobsRequest) -> Result<LeaseJobsResponse, Failure> {
        let service = calling_service(call)?.as_str();
        let Parsed {
            max_jobs,
            wait,
            duration,
            request_id,
        } = parse(&request)?;
        // The token covers all fields, so that a request with the same id and other content does not get the jobs of
        // the first.
        let nanos = duration.as_nanos().to_be_bytes();
        let content = [service.as_bytes(), request_id.as_bytes(), &[max_jobs], &nanos];
        let mut tokens = self
            .leases
            .iter()
            .map(|(_, key)| LeaseToken::from_mac(key.mac(&content)));
        let token = tokens
            .next()
            .ok_or_else(|| Failure::internal("the ring has no key"))?;
        let request = LeaseRequest {
            token,
            other_tokens: tokens.collect(),
            holder: service,
            max_jobs,
            duration,
        };
        let until = Instant::now() + wait.min(call.deadline.remaining().saturating_sub(RESPONSE_RESERVE));
        let mut jobs = self.poll(&request, call.deadline).await?;
        if jobs.is_empty() && Instant::now() < until {
            jobs = self.wait_for_jobs(&request, until, call.deadline).await?;
        }
        Ok(LeaseJobsResponse { jobs })
    }
}

impl AnalysisQueueRpc {
    /// Waits until `until` for jobs, and returns the first ones, opened. Only the waiting call with the lock polls.
    /// Jobs therefore go to the call that has waited longest; when that call has its jobs, the next call polls.
    async fn wait_for_jobs(
        &self,
        request: &LeaseRequest<'_>,
        until: Instant,
        deadline: Deadline,
    ) -> Result<Vec<proto::LeasedJob>, Failure> {
        let _polling = tokio::select! {
            biased;
            () = self.stop.cancelled() => return Ok(Vec::new()),
            () = sleep_until(until) => return Ok(Vec::new()),
            polling = self.polling.lock() => polling,
        };
        let mut waiting = self.new_jobs.wait();
        loop {
            let jobs = self.poll(request, deadline).await?;
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

    /// Leases the jobs that are due now, and opens their messages. Empty when no job is due that can be opened.
    async fn poll(
        &self,
        request: &LeaseRequest<'_>,
        deadline: Deadline,
    ) -> Result<Vec<proto::LeasedJob>, Failure> {
        // Each round without a result costs unreadable jobs an attempt, so the loop ends.
        loop {
            let leased = self.queue.lease(request, deadline).await?;
            let mut retry = !leased.is_empty();
            let mut jobs = Vec::new();
            for job in leased {
                let lease = job.lease;
                match self.open_job(job) {
                    Ok(job) => jobs.push(job),
                    Err(unreadable) => retry &= self.withdraw(&lease, &unreadable, deadline).await,
                }
            }
            if !jobs.is_empty() || !retry {
                return Ok(jobs);
            }
        }
    }

    /// Opens the messages of a job, and converts it to the response message.
    fn open_job(&self, job: LeasedJob) -> Result<proto::LeasedJob, Unreadable> {
        let person = job.lease.person;
        let messages = job.messages.into_iter().map(|sealed| {
            let message = sealed.id;
            let opened = sealed.open(&self.keys, person);
            let opened = opened.map_err(|cause| Unreadable { message, cause })?;
            Ok(message_to_proto(&opened))
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

    /// Fails a job that cannot be opened, so that other jobs do not wait for it, and logs that for operators. Returns
    /// whether the lease has ended.
    async fn withdraw(&self, lease: &Lease, unreadable: &Unreadable, deadline: Deadline) -> bool {
        tracing::error!(
            user_id = %lease.person, job = %lease.job, message = %unreadable.message, cause = %unreadable.cause,
            "a message of an analysis job cannot be opened"
        );
        let failed = FailedAttempt {
            error: &ErrorCode::MESSAGES_UNREADABLE,
            retry_delays: self.retry_delays(),
        };
        match self.queue.withdraw(lease, failed, deadline).await {
            Ok(()) | Err(LeaseError::Lost) => true,
            Err(error) => {
                tracing::warn!(%error, job = %lease.job, "an unreadable job stays leased until its lease expires");
                false
            }
        }
    }
}

fn parse(request: &LeaseJobsRequest) -> Result<Parsed, Failure> {
    let mut violations = Violations::new();
    let max_jobs = u8::try_from(request.max_jobs).ok().filter(|max| *max <= MAX_JOBS);
    if max_jobs.is_none() {
        let description = "max_jobs must be 1 to 10, or 0 for the default of 1";
        violations.add(Violation::new("max_jobs", "OUT_OF_RANGE", description));
    }
    let wait = parse_duration("wait", request.wait.as_ref(), &WAIT_RANGE, &mut violations);
    let duration = parse_duration(
        "lease_duration",
        request.lease_duration.as_ref(),
        &LEASE_RANGE,
        &mut violations,
    );
    let request_id = violations.uuid("request_id", &request.request_id);
    violations.check()?;
    Ok(Parsed {
        max_jobs: max_jobs.unwrap_or_default().max(1),
        wait: wait.unwrap_or_default(),
        duration: duration.unwrap_or(DEFAULT_LEASE),
        request_id,
    })
}

#[cfg(test)]
mod tests {
    use super::*;

    const ID: &str = "01890a5d-ac96-774b-bcce-b302099a8057";

    fn of(seconds: i64, nanos: i32) -> Option<prost_types::Duration> {
        Some(prost_types::Duration { seconds, nanos })
    }

    fn violations(failure: &Failure) -> Vec<(&str, &str)> {
        let all = failure.all_violations().iter();
        all.map(|one| (one.field.as_str(), one.name)).collect()
    }

    #[test]
    fn the_default_is_one_job_for_a_minute_without_waiting() {
        let request = LeaseJobsRequest {
            request_id: ID.into(),
            ..Default::default()
        };
        let parsed = parse(&request).unwrap();
        assert_eq!((parsed.max_jobs, parsed.wait), (1, Duration::ZERO));
        assert_eq!(parsed.duration, Duration::from_secs(60));
        let most = LeaseJobsRequest {
            max_jobs: 10,
            wait: of(30, 0),
            lease_duration: of(600, 0),
            ..request.clone()
        };
        let parsed = parse(&most).unwrap();
        assert_eq!((parsed.max_jobs, parsed.wait), (10, Duration::from_secs(30)));
        assert_eq!(parsed.duration, Duration::from_secs(600));
        let least = LeaseJobsRequest {
            wait: of(0, 1),
            lease_duration: of(1, 0),
            ..request
        };
        let parsed = parse(&least).unwrap();
        assert_eq!(parsed.wait, Duration::from_nanos(1));
    }

    #[test]
    fn all_violations_are_reported_at_once() {
        let request = LeaseJobsRequest {
            max_jobs: 11,
            wait: of(30, 1),
            lease_duration: of(0, 999_999_999),
            request_id: "x".into(),
        };
        let expected = [
            ("max_jobs", "OUT_OF_RANGE"),
            ("wait", "TOO_LONG"),
            ("lease_duration", "TOO_SHORT"),
            ("request_id", "NOT_A_UUID"),
        ];
        assert_eq!(violations(&parse(&request).unwrap_err()), expected);
    }

    #[test]
    fn an_invalid_duration_is_rejected() {
        for (seconds, nanos, name) in [
            (-1, 0, "NEGATIVE"),
            (0, -1, "NEGATIVE"),
            (-1, -1, "NEGATIVE"),
            (i64::MIN, 0, "NEGATIVE"),
            (1, -1, "NOT_A_DURATION"),
            (-1, 1, "NOT_A_DURATION"),
            (1, 1_000_000_000, "NOT_A_DURATION"),
            (1, i32::MIN, "NOT_A_DURATION"),
            (i64::MAX, 0, "TOO_LONG"),
            (600, 1, "TOO_LONG"),
        ] {
            let request = LeaseJobsRequest {
                max_jobs: -1,
                lease_duration: of(seconds, nanos),
                request_id: ID.into(),
                wait: None,
            };
            let failure = parse(&request).unwrap_err();
            let expected = [("max_jobs", "OUT_OF_RANGE"), ("lease_duration", name)];
            assert_eq!(violations(&failure), expected, "{seconds} {nanos}");
        }
    }
}
