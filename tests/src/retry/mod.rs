//! Retries for clients of tonic, which has none: a tower layer that follows a gRPC service config.
//!
//! Copy this folder into a caller. It needs only public crates, and the file `proto/haven.service_config.json`:
//!
//! ```ignore
//! let retries = RetryLayer::new(ServiceConfig::read("haven.service_config.json".as_ref())?);
//! let mut conversation = ConversationServiceClient::new(retries.layer(channel));
//! ```
//!
//! A call is retried as a gRPC library does it (gRFC A6), and a few differences make it fit Haven's failures:
//!
//! - A retry waits for the server's `grpc-retry-pushback-ms`, or else its `RetryInfo`, and up to a fifth longer, so that
//!   callers that failed together do not return together. Otherwise it waits for the backoff of the config.
//! - A failure of Haven without either is returned at once.
//! - A call ends at its deadline: that of the request, or the `timeout` of the config if that is sooner. A failure whose
//!   pause would pass the deadline is returned at once, because it says more than DEADLINE_EXCEEDED.
//! - A request that no server has seen, because there was no connection, is sent again until the deadline, for every RPC
//!   with `waitForReady`.
//!
//! A call is not retried after its first response message, so the reader of a stream must continue by itself. Requests are
//! kept in memory; the layer is not for RPCs that send a stream of them, of which Haven has none.

pub mod config;
mod failure;
mod throttle;

use std::{
    error::Error,
    pin::Pin,
    sync::Arc,
    task::{Context, Poll},
    time::Duration,
};

use bytes::Bytes;
use http::{HeaderMap, HeaderName, HeaderValue, Request, Response, request::Parts};
use http_body_util::{BodyExt as _, Full};
use tokio::time::{Instant, sleep, timeout_at};
use tonic::{Status, body::Body};
use tower::{Layer, Service, ServiceExt as _};

use self::{
    config::{MethodConfig, RetryPolicy, ServiceConfig},
    failure::{Advice, Failure, begin},
    throttle::Throttle,
};

/// The header with a call's remaining time.
const TIMEOUT: HeaderName = HeaderName::from_static("grpc-timeout");

/// The header with the number of attempts before this one.
const PREVIOUS_ATTEMPTS: HeaderName = HeaderName::from_static("grpc-previous-rpc-attempts");

/// The time of a call without a deadline, if the config has no `timeout` for it.
const NO_DEADLINE: Duration = Duration::from_secs(24 * 3600);

/// The pauses of a request that waits for a connection: as between two attempts of a channel to connect.
const FIRST_WAIT: Duration = Duration::from_millis(50);
const LONGEST_WAIT: Duration = Duration::from_secs(1);

/// The layer. It makes a [`Retry`] of a service; those of one layer share the limit of retries, so use one for each channel.
#[derive(Clone, Debug)]
pub struct RetryLayer(Arc<Shared>);

/// A service that retries calls.
#[derive(Clone, Debug)]
pub struct Retry<S> {
    inner: S,
    shared: Arc<Shared>,
}

/// The settings and the state of a layer.
#[derive(Debug)]
struct Shared {
    config: ServiceConfig,
    throttle: Throttle,
    until_deadline: bool,
}

impl RetryLayer {
    /// Creates a layer with the attempts and the limit of the config, as gRPC libraries have them.
    #[must_use]
    pub fn new(config: ServiceConfig) -> Self {
        Self::build(config, false)
    }

    /// Creates a layer that retries until the deadline: for work that no person waits for, such as a queue's, and which
    /// must outlast a failover. It has no limit but the config's longest pause.
    #[must_use]
    pub fn until_deadline(config: ServiceConfig) -> Self {
        Self::build(config, true)
    }

    fn build(config: ServiceConfig, until_deadline: bool) -> Self {
        let throttle = Throttle::new(config.retry_throttling);
        Self(Arc::new(Shared {
            config,
            throttle,
            until_deadline,
        }))
    }
}

impl<S> Layer<S> for RetryLayer {
    type Service = Retry<S>;

    fn layer(&self, inner: S) -> Retry<S> {
        Retry {
            inner,
            shared: Arc::clone(&self.0),
        }
    }
}

impl<S, B> Service<Request<Body>> for Retry<S>
where
    S: Service<Request<Body>, Response = Response<B>> + Clone + Send + 'static,
    S::Error: Error + Send + 'static,
    S::Future: Send,
    B: http_body::Body<Data = Bytes> + Send + Unpin + 'static,
    B::Error: Into<Box<dyn Error + Send + Sync>>,
{
    type Response = Response<Body>;
    type Error = S::Error;
    type Future = Pin<Box<dyn Future<Output = Result<Self::Response, Self::Error>> + Send>>;

    fn poll_ready(&mut self, _: &mut Context<'_>) -> Poll<Result<(), Self::Error>> {
        // Each attempt waits for the service itself.
        Poll::Ready(Ok(()))
    }

    fn call(&mut self, request: Request<Body>) -> Self::Future {
        let (inner, shared) = (self.inner.clone(), Arc::clone(&self.shared));
        Box::pin(async move { shared.call(inner, request).await })
    }
}

impl Shared {
    /// Sends a request, and sends it again while its failures allow a retry.
    async fn call<S, B>(&self, mut service: S, request: Request<Body>) -> Result<Response<Body>, S::Error>
    where
        S: Service<Request<Body>, Response = Response<B>>,
        S::Error: Error + 'static,
        B: http_body::Body<Data = Bytes> + Send + Unpin + 'static,
        B::Error: Into<Box<dyn Error + Send + Sync>>,
    {
        let (parts, body) = request.into_parts();
        let message = match body.collect().await {
            Ok(message) => message.to_bytes(),
            Err(status) => return Ok(status.into_http()),
        };
        let mut call = Call::new(self, &parts);
        loop {
            let attempt = async {
                let response = service
                    .ready()
                    .await?
                    .call(call.request(&parts, &message))
                    .await?;
                Ok(begin(response).await)
            };
            let (answer, failure) = match timeout_at(call.deadline, attempt).await {
                Ok(Ok((response, failure))) => (Ok(response), failure),
                Ok(Err(error)) => {
                    let failure = Failure::of(&error);
                    (Err(error), Some(failure))
                }
                Err(_) => return Ok(late()),
            };
            let Some(failure) = failure else {
                self.throttle.succeeded();
                return answer;
            };
            match call.pause(&failure) {
                Some(pause) => sleep(pause).await,
                None if matches!(failure, Failure::Late) => return Ok(late()),
                None => return answer,
            }
        }
    }
}

/// The state of a call between its attempts.
struct Call<'a> {
    shared: &'a Shared,
    rules: Option<&'a MethodConfig>,
    deadline: Instant,
    has_deadline: bool,
    attempts: u32,
    backoffs: i32,
    waits: u32,
}

impl<'a> Call<'a> {
    /// Begins a call.
    fn new(shared: &'a Shared, parts: &Parts) -> Self {
        let rules = shared.config.rules(parts.uri.path());
        let requested = parts.headers.get(TIMEOUT).and_then(timeout);
        let configured = rules.and_then(|rules| rules.timeout).map(|timeout| timeout.0);
        let time = requested.into_iter().chain(configured).min();
        Self {
            shared,
            rules,
            deadline: Instant::now() + time.unwrap_or(NO_DEADLINE).min(NO_DEADLINE),
            has_deadline: time.is_some(),
            attempts: 0,
            backoffs: 0,
            waits: 0,
        }
    }

    /// Returns the request of the next attempt.
    fn request(&self, parts: &Parts, message: &Bytes) -> Request<Body> {
        let body = Body::new(Full::new(message.clone()));
        let mut request = Request::from_parts(parts.clone(), body);
        self.stamp(request.headers_mut());
        request
    }

    /// Sets the headers that differ between attempts: the time that is left, and the number of attempts before.
    fn stamp(&self, headers: &mut HeaderMap) {
        if self.has_deadline {
            let left = self.deadline.saturating_duration_since(Instant::now());
            // At most eight digits; a day in milliseconds has eight.
            let value = format!("{}m", left.as_millis().max(1));
            headers.insert(
                TIMEOUT,
                HeaderValue::try_from(value).unwrap_or(HeaderValue::from_static("1m")),
            );
        }
        if self.attempts > 0 {
            headers.insert(PREVIOUS_ATTEMPTS, HeaderValue::from(self.attempts));
        }
    }

    /// Returns the pause before the next attempt. `None` when the failure is the answer.
    fn pause(&mut self, failure: &Failure) -> Option<Duration> {
        let rules = self.rules?;
        let pause = match failure {
            Failure::NotSent if rules.wait_for_ready => self.wait(),
            _ => self.backoff(rules.retry_policy.as_ref()?, failure)?,
        };
        (Instant::now() + pause < self.deadline).then_some(pause)
    }

    /// Returns the pause of a request that waits for a connection.
    fn wait(&mut self) -> Duration {
        let pause = FIRST_WAIT * 2_u32.saturating_pow(self.waits.min(16));
        self.waits += 1;
        scatter(pause.min(LONGEST_WAIT))
    }

    /// Returns the pause before a retry under `policy`, if the failure, the number of attempts and the limit of retries
    /// allow one.
    fn backoff(&mut self, policy: &RetryPolicy, failure: &Failure) -> Option<Duration> {
        self.attempts += 1;
        let code = failure.code();
        if !policy
            .retryable_status_codes
            .iter()
            .any(|listed| listed.0 == code)
        {
            return None;
        }
        let allowed = self.shared.throttle.failed() && self.attempts < policy.max_attempts;
        if !allowed && !self.shared.until_deadline {
            return None;
        }
        let pause = match failure.advice() {
            Advice::Never => return None,
            Advice::After(delay) => {
                self.backoffs = 0;
                delay
            }
            Advice::None => {
                let factor = policy.backoff_multiplier.powi(self.backoffs);
                self.backoffs = (self.backoffs + 1).min(64);
                let longest = policy.max_backoff.0;
                let pause = policy.initial_backoff.0.as_secs_f64() * factor;
                Duration::try_from_secs_f64(pause).map_or(longest, |pause| pause.min(longest))
            }
        };
        Some(scatter(pause))
    }
}

/// Returns `pause`, or up to a fifth more.
fn scatter(pause: Duration) -> Duration {
    pause.mul_f64(1.0 + rand::random::<f64>() / 5.0)
}

/// Parses the header `grpc-timeout`: up to eight digits and a unit.
fn timeout(value: &HeaderValue) -> Option<Duration> {
    let text = value.to_str().ok()?;
    let (digits, unit) = text.split_at_checked(text.len().checked_sub(1)?)?;
    let amount: u64 = digits.parse().ok()?;
    Some(match unit {
        "H" => Duration::from_secs(amount.saturating_mul(3600)),
        "M" => Duration::from_secs(amount.saturating_mul(60)),
        "S" => Duration::from_secs(amount),
        "m" => Duration::from_millis(amount),
        "u" => Duration::from_micros(amount),
        "n" => Duration::from_nanos(amount),
        _ => return None,
    })
}

/// Returns the answer of a call past its deadline.
fn late() -> Response<Body> {
    Status::deadline_exceeded("the deadline passed before an attempt was answered").into_http()
}
