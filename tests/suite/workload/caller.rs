//! Calls as clients make them: with a deadline, retried under the same request id, and written into the journal.

use std::time::{Duration, Instant, SystemTime};

use tonic::{Code, Request, Response, Status};
use tonic_types::StatusExt;
use uuid::Uuid;

use super::journal::{Call, Change, Fact, Journal, Outcome};

/// The deadline of an attempt.
const ATTEMPT: Duration = Duration::from_secs(10);

/// The time after which a client gives an attempt up that its own deadline did not end.
const ATTEMPT_LIMIT: Duration = Duration::from_secs(15);

/// The time for which calls are retried: longer than any fault of a drill.
pub(super) const PATIENCE: Duration = Duration::from_secs(120);

/// The pause before the first retry of an attempt without an answer. It doubles up to [`LONGEST_PAUSE`].
const PAUSE: Duration = Duration::from_millis(50);

/// The longest pause between two attempts, but for what `RetryInfo` demands.
const LONGEST_PAUSE: Duration = Duration::from_secs(1);

/// The end of a call that was not acknowledged.
#[derive(Debug)]
pub(super) enum Failure {
    /// The service refused the call, which has no effect.
    Refused(String),
    /// The outcome is unknown.
    Unknown,
}

/// Makes calls for a person, or for a worker.
pub(super) struct Caller<'a> {
    pub(super) journal: &'a Journal,
    /// See [`Call::person`].
    pub(super) name: Uuid,
}

/// A mutation that is about to be called.
pub(super) struct Mutation<'a> {
    pub(super) rpc: &'static str,
    /// The request id in its request. Empty where the request has none.
    pub(super) request_id: &'a str,
    pub(super) changes: Vec<Change>,
    /// The time for which the call is retried.
    pub(super) patience: Duration,
}

/// The verdict on a failed attempt.
#[derive(Debug, PartialEq, Eq)]
enum Verdict {
    /// Another attempt may succeed, but not before this pause.
    Retry(Duration),
    /// The service refused the call for this reason.
    Refused(String),
    /// The attempt failed for a reason that does not tell whether it took effect.
    Broken(String),
}

// === impl Mutation ===

impl<'a> Mutation<'a> {
    /// Creates a mutation with these changes, which is retried as long as any.
    pub(super) fn new(rpc: &'static str, request_id: &'a str, changes: Vec<Change>) -> Self {
        Self {
            rpc,
            request_id,
            changes,
            patience: PATIENCE,
        }
    }
}

// === impl Caller ===

impl Caller<'_> {
    /// Calls a mutation, and retries it while that can help.
    pub(super) async fn call<T: Clone, A>(
        &self,
        mutation: Mutation<'_>,
        request: T,
        send: impl AsyncFnMut(Request<T>) -> Result<Response<A>, Status>,
    ) -> Result<A, Failure> {
        self.call_with_facts(mutation, request, |_| Vec::new(), send)
            .await
    }

    /// Does the same, and adds the facts that the answer tells to the journal.
    pub(super) async fn call_with_facts<T: Clone, A>(
        &self,
        mutation: Mutation<'_>,
        request: T,
        facts: impl FnOnce(&A) -> Vec<Fact>,
        mut send: impl AsyncFnMut(Request<T>) -> Result<Response<A>, Status>,
    ) -> Result<A, Failure> {
        let now = SystemTime::now();
        let index = {
            let mut calls = self.journal.calls();
            calls.push(Call {
                person: self.name,
                rpc: mutation.rpc,
                request_id: mutation.request_id.parse().ok(),
                asked: now,
                last_attempt: now,
                attempts: 0,
                outcome: Outcome::Open,
                changes: mutation.changes,
                facts: Vec::new(),
            });
            calls.len() - 1
        };
        let noted = async |request| {
            {
                let call = &mut self.journal.calls()[index];
                call.attempts += 1;
                call.last_attempt = SystemTime::now();
            }
            send(request).await
        };
        let answer = retry(mutation.patience, request, noted).await;
        let call = &mut self.journal.calls()[index];
        match answer {
            Ok(answer) => {
                call.outcome = Outcome::Acknowledged(SystemTime::now());
                call.facts = facts(&answer);
                Ok(answer)
            }
            Err(Verdict::Refused(reason)) => {
                call.outcome = Outcome::Refused(reason.clone());
                Err(Failure::Refused(reason))
            }
            Err(verdict) => {
                call.outcome = Outcome::Unknown(format!("{verdict:?}"));
                Err(Failure::Unknown)
            }
        }
    }

    /// Makes a read, and retries it while that can help. `None` when it failed.
    pub(super) async fn read<T: Clone, A>(
        &self,
        request: T,
        mut send: impl AsyncFnMut(Request<T>) -> Result<Response<A>, Status>,
    ) -> Option<A> {
        let mut attempts = 0;
        let counted = async |request| {
            attempts += 1;
            send(request).await
        };
        let answer = retry(PATIENCE, request, counted).await;
        let mut reads = self.journal.reads();
        reads.retried += attempts - 1;
        match answer {
            Ok(answer) => {
                reads.done += 1;
                Some(answer)
            }
            Err(verdict) => {
                *reads.failed.entry(format!("{verdict:?}")).or_default() += 1;
                None
            }
        }
    }
}

/// Sends a request until it is answered, refused, or `patience` is over.
async fn retry<T: Clone, A>(
    patience: Duration,
    request: T,
    mut send: impl AsyncFnMut(Request<T>) -> Result<Response<A>, Status>,
) -> Result<A, Verdict> {
    let end = Instant::now() + patience;
    let mut backoff = PAUSE;
    loop {
        let mut attempt = Request::new(request.clone());
        attempt.set_timeout(ATTEMPT);
        let answer = tokio::time::timeout(ATTEMPT_LIMIT, send(attempt)).await;
        let status = match answer {
            Ok(Ok(answer)) => return Ok(answer.into_inner()),
            Ok(Err(status)) => status,
            Err(_) => Status::unavailable("no answer before the client's own limit"),
        };
        let pause = match judge(&status) {
            Verdict::Retry(pause) => pause.max(backoff.mul_f64(rand::random_range(0.5..1.0))),
            verdict => return Err(verdict),
        };
        if Instant::now() + pause >= end {
            return Err(Verdict::Broken(format!(
                "{:?}: {}",
                status.code(),
                status.message()
            )));
        }
        tokio::time::sleep(pause).await;
        backoff = (backoff * 2).min(LONGEST_PAUSE);
    }
}

/// Judges a failed attempt by what the contract says: a call without an answer, and a failure with `RetryInfo`, are retried.
fn judge(status: &Status) -> Verdict {
    let details = status.get_error_details();
    let reason = details.error_info().map(|info| info.reason.clone());
    let Some(reason) = reason else {
        // The service did not send this status: no process listens, the connection broke, or the attempt took too long.
        return match status.code() {
            Code::Unavailable | Code::Unknown | Code::Cancelled | Code::DeadlineExceeded => {
                Verdict::Retry(Duration::ZERO)
            }
            // HTTP/2 tells that a stream was reset by a process that died as INTERNAL.
            Code::Internal if !status.message().is_empty() => Verdict::Retry(Duration::ZERO),
            code => Verdict::Broken(format!("{code:?}: {}", status.message())),
        };
    };
    match details.retry_info().and_then(|retry| retry.retry_delay) {
        Some(delay) => Verdict::Retry(delay),
        None if reason == "INTERNAL" || reason == "CANCELLED" => Verdict::Broken(reason),
        None => Verdict::Refused(reason),
    }
}

#[cfg(test)]
mod tests {
    use haven_platform::{failure, reason::Reason};

    use super::*;

    #[test]
    fn a_failure_is_retried_as_the_contract_says() {
        let of = |reason| judge(&failure::Failure::new(reason).into());
        let second = Verdict::Retry(Duration::from_secs(1));
        assert_eq!(of(Reason::DependencyUnavailable), second);
        assert_eq!(of(Reason::AccountNotReady), second);
        assert_eq!(of(Reason::Deadline), Verdict::Retry(Duration::from_millis(50)));
        assert_eq!(
            of(Reason::VersionConflict),
            Verdict::Refused("VERSION_CONFLICT".to_owned())
        );
        assert_eq!(of(Reason::Internal), Verdict::Broken("INTERNAL".to_owned()));
        assert_eq!(
            judge(&Status::unavailable("no process listens")),
            Verdict::Retry(Duration::ZERO)
        );
    }
}
