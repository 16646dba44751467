//! Retries, as clients make them.

use std::time::{Duration, Instant};

use haven_platform::{failure::Failure, reason::Reason};
use tonic::{Code, Request, Response, Status};
use tonic_types::StatusExt;

/// Deadline of each call, and time for which a call is retried: longer than any number of concurrent calls takes, also on a
/// machine that is busy with other tests.
pub(crate) const LONG_TIMEOUT: Duration = Duration::from_secs(60);

/// Pause before a retry of a call that got no response from the service.
const PAUSE: Duration = Duration::from_millis(50);

/// Returns a request with the deadline [`LONG_TIMEOUT`].
pub(crate) fn with_long_timeout<T>(message: T) -> Request<T> {
    let mut request = Request::new(message);
    request.set_timeout(LONG_TIMEOUT);
    request
}

/// Sends a request, and retries it under the same request id while the status allows a retry.
///
/// Among many concurrent calls on a busy machine some get no database connection and no turn to hash in time, and a service
/// that was killed answers no call. Each retry waits for as long as `RetryInfo` says: retries without a pause would keep the
/// service too busy to answer.
pub(crate) async fn retry_call<T: Clone, A>(
    request: T,
    mut call: impl AsyncFnMut(Request<T>) -> Result<Response<A>, Status>,
) -> Result<A, Status> {
    let limit = Instant::now() + LONG_TIMEOUT;
    loop {
        let answer = call(with_long_timeout(request.clone())).await;
        match answer.as_ref().err().and_then(|status| pause(status, None)) {
            Some(pause) if Instant::now() < limit => tokio::time::sleep(pause).await,
            _ => return answer.map(Response::into_inner),
        }
    }
}

/// Retries any other operation, such as opening a stream, as [`retry_call`] does.
pub(crate) async fn retry<A>(call: impl AsyncFnMut() -> Result<A, Status>) -> Result<A, Status> {
    retry_for(LONG_TIMEOUT, None, call).await
}

/// Retries an operation for `time`, also when it fails for the reason `not_yet`.
pub(crate) async fn retry_for<A>(
    time: Duration,
    not_yet: Option<&str>,
    mut call: impl AsyncFnMut() -> Result<A, Status>,
) -> Result<A, Status> {
    let limit = Instant::now() + time;
    loop {
        let outcome = call().await;
        let pause = outcome.as_ref().err().and_then(|status| pause(status, not_yet));
        match pause {
            Some(pause) if Instant::now() < limit => tokio::time::sleep(pause).await,
            _ => return outcome,
        }
    }
}

/// The reasons of a server, or of a caller, that has too much to do at the moment.
const BUSY: [&str; 2] = ["OVERLOADED", "TOO_MANY_CALLS"];

/// Returns the pause before a retry, or `None` when the status does not allow one.
fn pause(status: &Status, not_yet: Option<&str>) -> Option<Duration> {
    if status.details().is_empty() {
        // The service did not send this status: no process listens, or the connection broke during the call.
        let broken = matches!(status.code(), Code::Unavailable | Code::Unknown | Code::Cancelled);
        return broken.then_some(PAUSE);
    }
    let details = status.get_error_details();
    let reason = details.error_info().map(|info| info.reason.as_str());
    // RATE_LIMITED carries RetryInfo as well, but is not retried: tests of rate limits look at it.
    let retryable = status.code() == Code::Unavailable
        || reason.is_some_and(|reason| BUSY.contains(&reason) || not_yet == Some(reason));
    let delay = details.retry_info().and_then(|retry| retry.retry_delay);
    retryable.then(|| delay.unwrap_or_else(|| panic!("no RetryInfo in {status:?}")))
}

#[tokio::test]
async fn only_retryable_failures_are_retried() {
    for (status, not_yet, expected) in [
        (Failure::new(Reason::DependencyUnavailable).into(), None, 2),
        (Failure::new(Reason::Overloaded).into(), None, 2),
        (Failure::new(Reason::TooManyCalls).into(), None, 2),
        (Status::unavailable("no process listens"), None, 2),
        (
            Failure::new(Reason::AccountNotReady).into(),
            Some("ACCOUNT_NOT_READY"),
            2,
        ),
        (Failure::new(Reason::AccountNotReady).into(), None, 1),
        (
            Failure::new(Reason::AccountErased).into(),
            Some("ACCOUNT_NOT_READY"),
            1,
        ),
        (Failure::new(Reason::RateLimited).into(), None, 1),
        (Failure::new(Reason::Internal).into(), None, 1),
    ] {
        let status: Status = status;
        let mut calls = 0;
        let outcome = retry_for(LONG_TIMEOUT, not_yet, async || {
            calls += 1;
            if calls == 1 { Err(status.clone()) } else { Ok(()) }
        });
        assert_eq!(
            (outcome.await.is_ok(), calls),
            (expected == 2, expected),
            "{status:?}"
        );
    }
}
