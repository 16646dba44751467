//! The gRPC server. [`ServerBuilder`] assembles it with all safety layers; a server without them cannot be built.
//!
//! A request passes the layers from the outside in. Each is one file of this module:
//!
//! 0. `web`, only with `WEB_ORIGINS`: translates gRPC-Web, answers the questions of CORS, and marks the calls of browsers
//! 1. `unread_answers`: drops an answer that its client does not read
//! 2. `request_log`: assigns a request id, opens a span, and at the end writes one log line and the metrics
//! 3. `error_contract`: gives every failure exactly one published reason and its details
//! 4. `panics`: answers INTERNAL when a handler panics, instead of a reset stream
//! 5. `time_limits`: sets the deadline, which is the caller's or the configured one, and ends the call when it passes
//! 6. `load_shedding`: refuses calls for which there is no place, and all new calls while the server stops
//! 7. `authorization`: determines the caller, its network (`client_address`, `forwarded`), and whether the RPC admits it
//! 8. `person_limits`: limits each person's calls and streams, and ends a stream when its token or session ends
//! 9. `compression`: compresses the answers of some RPCs
//!
//! Then tonic routes the request to its service. The handler gets the [`Call`](crate::call::Call).
//!
//! The other files: `listener` accepts connections and does TLS; `connection` is what the layers know of a connection;
//! `layer` makes a chain of the layers; `protocol` is what a request must be before it is a call; `limits` has the sizes of
//! messages; `spoken` is the protocol that a connection speaks; `resets` counts the streams that its client resets; `places`
//! shares out permits; `health` is the health service; `reflection` describes the contract; `rpc_metrics` has the metrics of a
//! call, `status` reads how it ended; `response_body` has wrappers of response bodies.
//!
//! To add a layer, write an `async fn(Arc<State>, Request, Next<C>) -> Response` in a file of its own (`layer`) and add it in
//! [`ServerBuilder::build`].

mod authorization;
mod client_address;
mod compression;
mod connection;
mod error_contract;
mod forwarded;
mod health;
mod layer;
mod limits;
mod listener;
mod load_shedding;
mod open_answer;
mod panics;
mod person_limits;
mod places;
mod protocol;
mod pushback;
mod reflection;
mod request_log;
mod resets;
mod response_body;
mod rpc_metrics;
mod spoken;
mod status;
mod time_limits;
mod unread_answers;
mod web;

use std::{convert::Infallible, fmt, sync::Arc, time::Duration};

use axum::Router;
use http::{Request, Response};
use tokio::net::TcpListener;
use tokio_util::sync::CancellationToken;
use tonic::{
    body::Body,
    server::NamedService,
    service::{Routes, RoutesBuilder},
    transport::Server,
};
use tower::{Service, layer::layer_fn};

use self::{
    authorization::Authorization,
    compression::Compression,
    health::MAX_QUERY_BYTES,
    layer::{End, Entry, Layer},
    load_shedding::LoadShedding,
    person_limits::PersonLimits,
    reflection::Contract,
    request_log::RequestLog,
    time_limits::TimeLimits,
    web::{Web, WebEntry},
};
pub use self::{health::Health, limits::Limits};
use crate::{
    access::{AccessError, AccessTable},
    auth::TokenVerifier,
    config::{AuthMode, Enforcement, Requests},
    entropy::Entropy,
    time::Clock,
    tls::Tls,
    trusted_proxies::TrustedProxies,
    web_origins::WebOrigins,
};

/// The maximum size of a response in bytes: the default limit of gRPC clients. Lists must stay below it.
const MAX_RESPONSE_BYTES: usize = 4 * 1024 * 1024;

/// The time after which a client is asked to open a new connection, so that load spreads over new replicas.
const MAX_CONNECTION_AGE: Duration = Duration::from_secs(10 * 60);

/// The time without a frame after which a client is asked whether it still lives, and the time that it has to answer. A dead
/// client's watch holds its place until then.
const KEEPALIVE_INTERVAL: Duration = Duration::from_secs(10);
const KEEPALIVE_TIMEOUT: Duration = Duration::from_secs(10);

/// The maximum number of open streams of a connection.
const MAX_CONCURRENT_STREAMS: u32 = 1024;

/// The maximum number of streams of a connection that the client reset before the server looked at them: as many as can be
/// open, so that a client can cancel all its calls at once. With h2's default of 20 such a client loses its connection.
const MAX_PENDING_RESETS: usize = 1024;

/// The maximum number of streams that the server resets because of a client's errors, over the life of a connection.
const MAX_ERROR_RESETS: usize = 10_000;

/// The settings of a server beside its gRPC services.
#[derive(Debug)]
pub struct ServerConfig {
    /// The limits of requests.
    pub requests: Requests,
    /// The server's certificate and trusted authorities.
    pub tls: Arc<Tls>,
    /// The proxies that may state the addresses of their clients.
    pub trusted_proxies: TrustedProxies,
    /// The origins of the pages that may call from a browser.
    pub web_origins: WebOrigins,
    /// The verifier of access tokens.
    pub verifier: TokenVerifier,
    /// The way users authenticate.
    pub auth_mode: AuthMode,
    /// Whether calls of users who lack a required consent are refused.
    pub enforcement: Enforcement,
    /// The maximum number of streams that one user may have open at once on this replica, of each kind.
    pub streams_per_user: usize,
    /// The clock for request ids.
    pub clock: Clock,
    /// The random bytes for request ids.
    pub entropy: Entropy,
}

/// Assembles a server from its gRPC services.
pub struct ServerBuilder {
    config: ServerConfig,
    health: Health,
    descriptors: Vec<&'static [u8]>,
    names: Vec<&'static str>,
    polled: &'static [&'static str],
    compressed: &'static [&'static str],
    routes: RoutesBuilder,
}

/// A complete server: the services, the standard services, and all layers.
pub struct ApiServer {
    config: ServerConfig,
    health: Health,
    shedding: Arc<LoadShedding>,
    routes: Router,
}

/// The reason why a server cannot be built.
#[derive(Debug, thiserror::Error)]
pub enum BuildError {
    /// An RPC does not declare its access rule or its scope.
    #[error(transparent)]
    Access(#[from] AccessError),
    /// An RPC must not be listed for compression, or does not exist.
    #[error("answers of {0} cannot be compressed: only those of an RPC that admits users alone")]
    Compression(&'static str),
}

// === impl ServerBuilder ===

impl ServerBuilder {
    /// Creates a builder. `descriptors` is an encoded `FileDescriptorSet` that describes all services to be added.
    #[must_use]
    pub fn new(config: ServerConfig, descriptors: &'static [u8]) -> Self {
        let mut builder = Self {
            config,
            health: Health::new(),
            descriptors: vec![
                descriptors,
                haven_proto::health::FILE_DESCRIPTOR_SET,
                tonic_reflection::pb::v1::FILE_DESCRIPTOR_SET,
                tonic_reflection::pb::v1alpha::FILE_DESCRIPTOR_SET,
                // The error details, so that tools that use reflection can decode them.
                tonic_types::pb::FILE_DESCRIPTOR_SET,
            ],
            names: Vec::new(),
            polled: &[],
            compressed: &[],
            routes: RoutesBuilder::default(),
        };
        let health = builder.health.service();
        builder.add(health);
        builder
    }

    /// Adds a gRPC service, which `make` creates with the message size limits.
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

    /// Names the RPCs that other services call in the background again and again, such as
    /// `haven.identity.v1.SessionService/ListEndedSessions`. Their successful calls by services are logged at DEBUG.
    #[must_use]
    pub fn polled(mut self, rpcs: &'static [&'static str]) -> Self {
        self.polled = rpcs;
        self
    }

    /// Names the RPCs with answers that are compressed for clients that ask for it, such as
    /// `haven.data.v1.ConversationService/ListMessages`. Their answers must belong to one person, and hold neither a credential
    /// nor text that others choose: the size of a compressed answer tells something about its content.
    #[must_use]
    pub fn compressed(mut self, rpcs: &'static [&'static str]) -> Self {
        self.compressed = rpcs;
        self
    }

    /// Builds the server.
    ///
    /// # Errors
    ///
    /// [`BuildError`] when an RPC has no access option, a service has no descriptor, or an RPC is listed for compression that
    /// admits others than users.
    pub fn build(mut self) -> Result<ApiServer, BuildError> {
        let contract = Contract {
            names: self.names.clone(),
            descriptors: self.descriptors.clone(),
            // An answer repeats its request, which names one symbol or file.
            limits: Limits {
                request: MAX_QUERY_BYTES,
                response: MAX_RESPONSE_BYTES,
            },
        };
        self.add(contract.clone().v1());
        self.add(contract.v1alpha());
        let access = AccessTable::read(self.descriptors.iter().copied(), &self.names)?;
        let Self {
            config,
            health,
            polled,
            compressed,
            routes,
            ..
        } = self;
        let compression = Compression::new(compressed, &access).map_err(BuildError::Compression)?;
        let compression = Arc::new(compression);
        let shedding = Arc::new(LoadShedding::new(
            config.requests.max_in_flight,
            access.clone(),
            config.trusted_proxies.clone(),
        ));
        let verifier = Arc::new(config.verifier.clone());
        let authorization = Arc::new(Authorization::new(
            access.clone(),
            Arc::clone(&config.tls),
            Arc::clone(&verifier),
            config.trusted_proxies.clone(),
            config.auth_mode,
            config.enforcement,
        ));
        let people = Arc::new(PersonLimits::new(
            access.clone(),
            verifier,
            config.streams_per_user,
        ));
        let times = Arc::new(TimeLimits::new(
            access.clone(),
            config.requests.default_deadline,
            config.requests.request_body_timeout,
        ));
        let log = Arc::new(RequestLog::new(
            &access,
            polled,
            config.clock.clone(),
            config.entropy.clone(),
        ));
        let places = Arc::clone(&shedding);
        let web = Web::new(config.web_origins.clone(), access.clone()).map(Arc::new);
        // The layers are listed from the inside out, which is the module documentation's order backwards.
        let entry = move |route| {
            let chain = End::new(route);
            let chain = Layer::new(Arc::clone(&compression), compression::compress_answer, chain);
            let chain = Layer::new(Arc::clone(&people), person_limits::limit_person, chain);
            let chain = Layer::new(Arc::clone(&authorization), authorization::authorize, chain);
            let chain = Layer::new(Arc::clone(&places), load_shedding::shed_load, chain);
            let chain = Layer::new(Arc::clone(&times), time_limits::enforce_deadline, chain);
            let chain = Layer::new((), panics::catch_panics, chain);
            let chain = Layer::new((), error_contract::complete_errors, chain);
            let chain = Layer::new(Arc::clone(&log), request_log::log_request, chain);
            Entry::new(Layer::new(access.clone(), unread_answers::drop_unread, chain))
        };
        let routes = routes.routes().into_axum_router();
        let routes = match web {
            None => routes.layer(layer_fn(entry)),
            Some(web) => routes.layer(layer_fn(move |route| {
                WebEntry::new(Arc::clone(&web), entry(route))
            })),
        };
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
    /// Returns the health statuses of the server.
    #[must_use]
    pub fn health(&self) -> &Health {
        &self.health
    }

    /// Serves on `listener` until `stop` is cancelled, then waits for calls in flight, but no longer than the drain
    /// timeout: a silent client or an open stream cannot extend it.
    ///
    /// # Errors
    ///
    /// An error when the listener fails.
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
        let is_web = !config.web_origins.is_empty();
        let incoming = listener::accept_tls(
            listener,
            config.tls,
            is_web,
            config.trusted_proxies,
            config.requests.max_connections,
            stop.clone(),
        );
        let server = Server::builder()
            .accept_http1(is_web)
            .max_connection_age(MAX_CONNECTION_AGE)
            .http2_keepalive_interval(Some(KEEPALIVE_INTERVAL))
            .http2_keepalive_timeout(Some(KEEPALIVE_TIMEOUT))
            .max_concurrent_streams(Some(MAX_CONCURRENT_STREAMS))
            .http2_max_pending_accept_reset_streams(Some(MAX_PENDING_RESETS))
            .http2_max_local_error_reset_streams(Some(MAX_ERROR_RESETS))
            .http2_max_header_list_size(protocol::MAX_READ_HEADER_BYTES)
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
                tracing::warn!(calls = shedding.in_flight(), "drain timeout: calls in flight are cut off");
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
