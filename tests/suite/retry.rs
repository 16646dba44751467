//! Calling again, as clients do.

use std::time::{Duration, Instant};

use haven_platform::{failure::Failure, reason::Reason};
use tonic::{Code, Request, Response, Status};
use tonic_types::StatusExt;

/// How long a call may take, and for how long it is made again: longer than any crowd takes, also on a machine that is busy
/// with other tests.
pub(crate) const LONG_TIMEOUT: Duration = Duration::from_secs(60);

/// How long before a call is made again that had no answer.
const PAUSE: Duration = Duration::from_millis(50);

/// A request with a deadline that a crowd does not reach.
pub(crate) fn with_long_timeout<T>(message: T) -> Request<T> {
    let mut request = Request::new(message);
    request.set_timeout(LONG_TIMEOUT);
    request
}

/// Sends a request until it is answered: in a crowd, on a busy machine, not everybody gets one of the service's connections
/// or a turn to hash in time, and a service that is killed answers nobody. Everybody waits as long as they are told: a crowd
/// that tries again at once keeps the service too busy to serve it.
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

/// The same for whatever else may have to be done again: a stream, for one.
pub(crate) async fn retry<A>(call: impl AsyncFnMut() -> Result<A, Status>) -> Result<A, Status> {
    retry_for(LONG_TIMEOUT, None, call).await
}

/// The same for `time`, and also where the answer is the reason `not_yet`.
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

/// How long before the call is made again; `None`: it is not.
fn pause(status: &Status, not_yet: Option<&str>) -> Option<Duration> {
    if status.details().is_empty() {
        // Not an answer: nobody listens, or the connection broke in the middle of the call.
        let broken = matches!(status.code(), Code::Unavailable | Code::Unknown | Code::Cancelled);
        return broken.then_some(PAUSE);
    }
    let details = status.get_error_details();
    let reason = details.error_info().map(|info| info.reason.as_str());
    // Who is limited is told to try again, too, and that is what tests of limits look at.
    let again = status.code() == Code::Unavailable
        || reason.is_some_and(|reason| reason == "OVERLOADED" || not_yet == Some(reason));
    let told = details.retry_info().and_then(|retry| retry.retry_delay);
    again.then(|| told.unwrap_or_else(|| panic!("it does not say when to try again: {status:?}")))
}

#[tokio::test]
async fn only_what_is_told_to_come_again_does() {
    for (status, not_yet, expected) in [
        (Failure::new(Reason::DependencyUnavailable).into(), None, 2),
        (Failure::new(Reason::Overloaded).into(), None, 2),
        (Status::unavailable("nobody listens"), None, 2),
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
