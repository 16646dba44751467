//! The server: every service is put together here, and cannot be put together without its safety layers.
//!
//! The way of a request, from the outside in; each layer is one file:
//!
//! 1. `record`: a request id, a span, and at the end one canonical log line and the metrics
//! 2. `contract`: every failure leaves with exactly one published reason and its details
//! 3. `panics`: a panic is an answer, not a reset stream
//! 4. `limits`: the caller's deadline, or ours
//! 5. `shedding`: no more work than can be done, and none while stopping
//! 6. `admission`: who calls, whether they may, and where from (`origin`)
//! 7. `streams`: of each person only some at once, and none that outlives their token or their session
//!
//! A new layer is an `async fn(State, Request, Next) -> Response` in a file of its own, added in [`ServerBuilder::build`].

mod authorization;
mod body;
mod client_address;
mod error_contract;
mod health;
mod listener;
mod load_shedding;
mod panics;
mod request_log;
mod stream_limits;
mod time_limits;

use std::{convert::Infallible, fmt, sync::Arc, time::Duration};

use axum::{Router, middleware::from_fn_with_state};
use http::{Request, Response};
use tokio::net::TcpListener;
use tokio_util::sync::CancellationToken;
use tonic::{
    body::Body,
    server::NamedService,
    service::{Routes, RoutesBuilder},
    transport::Server,
};
use tower::{Service, ServiceBuilder};

pub use self::health::Health;
use self::{
    authorization::Authorization, load_shedding::LoadShedding, stream_limits::StreamLimits,
    time_limits::TimeLimits,
};
use crate::{
    access::{AccessError, AccessTable},
    auth::TokenVerifier,
    config::{AuthMode, Requests},
    entropy::Entropy,
    time::Clock,
    tls::Tls,
};

/// The largest response: what clients take by default. Lists have to keep below it.
const MAX_RESPONSE_BYTES: usize = 4 * 1024 * 1024;

/// What describes all of it, itself included.
const REFLECTION: [&str; 2] = [
    "grpc.reflection.v1.ServerReflection",
    "grpc.reflection.v1alpha.ServerReflection",
];

/// How long a connection lives before its client is asked to make a new one, so that load spreads over new replicas.
const MAX_CONNECTION_AGE: Duration = Duration::from_secs(10 * 60);

/// The largest messages of a service: for its generated server's `max_decoding_message_size` and
/// `max_encoding_message_size`.
#[derive(Clone, Copy, Debug)]
pub struct Limits {
    /// The largest request, in bytes.
    pub request: usize,
    /// The largest answer, in bytes.
    pub response: usize,
}

/// What a server needs beside its services.
#[derive(Debug)]
pub struct ServerConfig {
    /// How much it takes on.
    pub requests: Requests,
    /// Its certificate, and whom it trusts.
    pub tls: Arc<Tls>,
    /// Whose tokens it accepts.
    pub verifier: TokenVerifier,
    /// How people prove who they are.
    pub auth_mode: AuthMode,
    /// The maximum number of streams that one user may have open at once on this replica, of each kind.
    pub streams_per_user: usize,
    /// For request ids.
    pub clock: Clock,
    /// For request ids.
    pub entropy: Entropy,
}

/// Collects the services of a server.
pub struct ServerBuilder {
    config: ServerConfig,
    health: Health,
    descriptors: Vec<&'static [u8]>,
    names: Vec<&'static str>,
    routes: RoutesBuilder,
}

/// A server that is complete: services, standard services, and every layer.
pub struct ApiServer {
    config: ServerConfig,
    health: Health,
    shedding: LoadShedding,
    routes: Router,
}

/// Why a server cannot be put together.
#[derive(Debug, thiserror::Error)]
pub enum BuildError {
    /// An RPC does not say who may call it.
    #[error(transparent)]
    Access(#[from] AccessError),
    /// The descriptors cannot be served by reflection.
    #[error("reflection: {0}")]
    Reflection(#[from] tonic_reflection::server::Error),
}

// === impl ServerBuilder ===

impl ServerBuilder {
    /// A server whose services are described by `descriptors` (an encoded `FileDescriptorSet`).
    #[must_use]
    pub fn new(config: ServerConfig, descriptors: &'static [u8]) -> Self {
        let mut builder = Self {
            config,
            health: Health::new(),
            descriptors: vec![
                descriptors,
                tonic_health::pb::FILE_DESCRIPTOR_SET,
                tonic_reflection::pb::v1::FILE_DESCRIPTOR_SET,
                tonic_reflection::pb::v1alpha::FILE_DESCRIPTOR_SET,
                // The details of a failure, so that a tool that asks for descriptors can show them.
                tonic_types::pb::FILE_DESCRIPTOR_SET,
            ],
            names: Vec::new(),
            routes: RoutesBuilder::default(),
        };
        let health = builder.health.service();
        builder.add(health);
        builder
    }

    /// Adds a service, made with the limits that its messages have to keep.
    #[must_use]
    pub fn service<S>(mut self, make: impl FnOnce(Limits) -> S) -> Self
    where
        S: Service<Request<Body>, Response = Response<Body>, Error = Infallible>
            + NamedService
            + Clone
            + Send
            + Sync
            + 'static,
        S::Future: Send + 'static,
    {
        let limits = Limits {
            request: self.config.requests.max_request_bytes,
            response: MAX_RESPONSE_BYTES,
        };
        self.add(make(limits));
        self.health.register(S::NAME);
        self
    }

    /// The finished server.
    ///
    /// # Errors
    ///
    /// When an RPC has no access option, or a service is in no descriptor.
    pub fn build(mut self) -> Result<ApiServer, BuildError> {
        // Only what is served here: the descriptors hold the other services' contracts, too.
        let served = [&self.names[..], &REFLECTION].concat();
        let reflection = || {
            let builder = tonic_reflection::server::Builder::configure();
            let builder = served
                .iter()
                .fold(builder, |builder, name| builder.with_service_name(*name));
            self.descriptors.iter().fold(builder, |builder, set| {
                builder.register_encoded_file_descriptor_set(set)
            })
        };
        let (v1, v1alpha) = (reflection().build_v1()?, reflection().build_v1alpha()?);
        self.add(v1);
        self.add(v1alpha);
        let access = AccessTable::read(self.descriptors.iter().copied(), &self.names)?;
        let Self {
            config,
            health,
            routes,
            ..
        } = self;
        let shedding = LoadShedding::new(config.requests.max_in_flight, access.clone());
        let verifier = Arc::new(config.verifier.clone());
        let authorization = Authorization::new(
            access.clone(),
            Arc::clone(&config.tls),
            Arc::clone(&verifier),
            config.auth_mode,
        );
        let streams = StreamLimits::new(access.clone(), verifier, config.streams_per_user);
        let limits = TimeLimits::new(access.clone(), config.requests.default_deadline);
        let request_log = request_log::RequestLog::new(access, config.clock.clone(), config.entropy.clone());
        // From the outside in, as in the module's documentation.
        let layers = ServiceBuilder::new()
            .layer(from_fn_with_state(request_log, request_log::log_request))
            .layer(axum::middleware::from_fn(error_contract::complete_errors))
            .layer(axum::middleware::from_fn(panics::catch_panics))
            .layer(from_fn_with_state(limits, time_limits::enforce_deadline))
            .layer(from_fn_with_state(shedding.clone(), load_shedding::shed_load))
            .layer(from_fn_with_state(authorization, authorization::authorize))
            .layer(from_fn_with_state(streams, stream_limits::limit_streams));
        let routes = routes.routes().into_axum_router().layer(layers);
        Ok(ApiServer {
            config,
            health,
            shedding,
            routes,
        })
    }

    fn add<S>(&mut self, service: S)
    where
        S: Service<Request<Body>, Response = Response<Body>, Error = Infallible>
            + NamedService
            + Clone
            + Send
            + Sync
            + 'static,
        S::Future: Send + 'static,
    {
        self.names.push(S::NAME);
        self.routes.add_service(service);
    }
}

// === impl ApiServer ===

impl ApiServer {
    /// What probes are told.
    #[must_use]
    pub fn health(&self) -> &Health {
        &self.health
    }

    /// Serves on `listener` until `stop`, then lets the calls that are under way finish, for as long as the drain
    /// timeout allows: a silent client or an open stream cannot hold it longer.
    ///
    /// # Errors
    ///
    /// When serving fails as a whole.
    pub async fn serve(
        self,
        listener: TcpListener,
        stop: CancellationToken,
    ) -> Result<(), tonic::transport::Error> {
        let Self {
            config,
            health,
            shedding,
            routes,
        } = self;
        let incoming = listener::accept_tls(listener, config.tls, stop.clone());
        let server = Server::builder()
            .max_connection_age(MAX_CONNECTION_AGE)
            .http2_keepalive_interval(Some(Duration::from_secs(30)))
            .http2_keepalive_timeout(Some(Duration::from_secs(10)))
            .max_concurrent_streams(Some(1024))
            .add_routes(Routes::from(routes))
            .serve_with_incoming_shutdown(incoming, stop.clone().cancelled_owned());
        let limit = async {
            stop.cancelled().await;
            shedding.drain();
            health.stop().await;
            tokio::time::sleep(config.requests.drain_timeout).await;
        };
        tokio::select! {
            served = server => served,
            () = limit => {
                tracing::warn!(calls = shedding.in_flight(), "drain timeout: what is still open is cut off");
                Ok(())
            }
        }
    }
}

impl fmt::Debug for ServerBuilder {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("ServerBuilder")
            .field("services", &self.names)
            .finish_non_exhaustive()
    }
}

impl fmt::Debug for ApiServer {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("ApiServer")
            .field("config", &self.config)
            .finish_non_exhaustive()
    }
}
