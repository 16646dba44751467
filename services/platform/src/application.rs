//! The interface between a service and the platform that runs it: the trait [`Application`].

use std::{error::Error, fmt, sync::Arc};

use clap::{Args, Subcommand};
use futures_util::future::BoxFuture;
use tokio_util::{sync::CancellationToken, task::TaskTracker};

use crate::{
    auth::{EndedSessions, KeySet},
    config::{
        AuthMode, ConfigError, ConfigProblems, Enforcement, EnforcementArgs, ListenerArgs, Listeners,
        PostgresArgs, ProxyArgs, RequestArgs, Requests, Telemetry, TelemetryArgs, TlsArgs, TlsFiles,
        TokenArgs, Tokens, WebArgs,
    },
    database::{Database, DatabaseConfig, InspectionError, Migrations, WorkerConfig, checks::Finding},
    entropy::Entropy,
    server::ServerBuilder,
    time::Clock,
    tls::Tls,
    trusted_proxies::TrustedProxies,
    web_origins::WebOrigins,
};

/// A service: its name, its configuration, and how its RPC handlers and background tasks are created.
///
/// [`crate::run`] has everything that services have in common, from the command line to the graceful stop.
pub trait Application: 'static {
    /// The service's name, which is also the name of its schema and the prefix of its database roles. Its crate is
    /// `haven-<name>`.
    const NAME: &'static str;
    /// The one-line description of the service in `--help`.
    const ABOUT: &'static str;
    /// The default ports of the API, health and metrics listeners, in this order.
    const PORTS: [u16; 3];
    /// The maximum number of streams that one user may have open at once on a replica, of each kind: those that end by
    /// themselves, and those that stay open.
    const STREAMS_PER_USER: usize;
    /// An encoded `FileDescriptorSet` that describes the service's gRPC services.
    const DESCRIPTORS: &'static [u8];
    /// The command-line flags that only this service has.
    type Args: Args + fmt::Debug;
    /// The checked configuration that results from [`Application::Args`].
    type Config;
    /// The program's subcommands beside those that every service has. A service without any uses
    /// [`std::convert::Infallible`].
    type Command: Subcommand + fmt::Debug;

    /// Checks the service's own flags. Adds everything that is wrong to `problems`; returns `None` when the
    /// configuration is incomplete.
    fn check(args: &Self::Args, problems: &mut ConfigProblems) -> Option<Self::Config>;

    /// Returns the migrations of the service's schema.
    fn migrations() -> Migrations;

    /// Adds the service's gRPC services to `server` and starts its background tasks, which end when `resources.stop` is
    /// cancelled.
    ///
    /// # Errors
    ///
    /// Any error in creating a handler or task. No request was served by then.
    fn assemble(
        config: Self::Config,
        resources: &Resources,
        server: ServerBuilder,
    ) -> Result<ServerBuilder, Box<dyn Error + Send + Sync>>;

    /// Returns a check that must succeed before the service reports itself ready, beside the inspection of the database
    /// itself: whether the stored data can be served with this configuration. By default there is none.
    fn inspection(_config: &Self::Config, _database: &Arc<Database>) -> Inspection {
        Box::new(|| Box::pin(async { Ok(()) }))
    }

    /// Returns the findings of the checks that only this service can make, for `check-database`. By default there are none.
    fn findings(_config: &WorkerConfig) -> impl Future<Output = Vec<Finding>> {
        async { Vec::new() }
    }

    /// Runs `command` and returns. The command has its own flags. It connects to Postgres with
    /// [`WorkerArgs`](crate::config::WorkerArgs) and [`Database::worker_only`], or, when it also acts as users, with
    /// [`PostgresArgs`], [`Database::new`] and [`Database::inspect`].
    ///
    /// # Errors
    ///
    /// [`CommandError`], which is printed, and which decides the exit code.
    fn command(command: Self::Command) -> impl Future<Output = Result<(), CommandError>>;
}

/// A check of the stored data. It is repeated every second until the database answers.
pub type Inspection = Box<dyn Fn() -> BoxFuture<'static, Result<(), InspectionError>> + Send + Sync>;

/// The reason why a command failed.
#[derive(Debug, thiserror::Error)]
pub enum CommandError {
    /// A flag is missing or wrong. The exit code is 64.
    #[error(transparent)]
    Config(#[from] ConfigError),
    /// The command failed, or found what it searches for. The exit code is 1.
    #[error(transparent)]
    Failed(Box<dyn Error + Send + Sync>),
}

impl CommandError {
    /// Returns [`CommandError::Failed`] with `error`, which is printed.
    pub fn failed(error: impl Into<Box<dyn Error + Send + Sync>>) -> Self {
        Self::Failed(error.into())
    }
}

/// The resources that the platform creates for a service.
#[derive(Debug)]
pub struct Resources {
    /// The connections to the service's schema.
    pub database: Arc<Database>,
    /// The public keys that verify access tokens. The service fills the set and keeps it up to date.
    pub keys: Arc<KeySet>,
    /// The ended sessions, with access tokens that are refused. The service fills the set and keeps it up to date.
    pub ended: Arc<EndedSessions>,
    /// The way users authenticate. In local mode no token is verified, so `keys` and `ended` need not be filled.
    pub auth_mode: AuthMode,
    /// The service's certificate and the authorities that it trusts.
    pub tls: Arc<Tls>,
    /// The accepted token issuers, and the secret for keyed hashes.
    pub tokens: Tokens,
    /// The source of the time of day.
    pub clock: Clock,
    /// The source of random bytes.
    pub entropy: Entropy,
    /// The tracker on which background tasks are spawned.
    pub tasks: TaskTracker,
    /// The token that is cancelled when the service stops.
    pub stop: CancellationToken,
}

/// The flags of `serve`: those that every service has, and the service's own.
#[derive(Args, Debug)]
pub struct ServeArgs<A: Args> {
    #[command(flatten, next_help_heading = "Listeners")]
    listeners: ListenerArgs,
    #[command(flatten, next_help_heading = "TLS and callers")]
    tls: TlsArgs,
    #[command(flatten)]
    proxies: ProxyArgs,
    #[command(flatten)]
    web: WebArgs,
    #[command(flatten, next_help_heading = "Tokens and keyed hashes")]
    tokens: TokenArgs,
    #[command(flatten)]
    enforcement: EnforcementArgs,
    #[command(flatten, next_help_heading = "Postgres")]
    postgres: PostgresArgs,
    #[command(flatten, next_help_heading = "Requests")]
    requests: RequestArgs,
    #[command(flatten, next_help_heading = "Logs and traces")]
    telemetry: TelemetryArgs,
    #[command(flatten, next_help_heading = "This service")]
    own: A,
}

/// A service's complete, checked configuration.
#[derive(Debug)]
pub struct ServeConfig<C> {
    pub(crate) listeners: Listeners,
    pub(crate) tls_files: TlsFiles,
    pub(crate) trusted_proxies: TrustedProxies,
    pub(crate) web_origins: WebOrigins,
    pub(crate) tokens: Tokens,
    pub(crate) enforcement: Enforcement,
    pub(crate) database: DatabaseConfig,
    pub(crate) requests: Requests,
    pub(crate) telemetry: Telemetry,
    pub(crate) own: C,
}

impl<A: Args> ServeArgs<A> {
    /// Checks all flags.
    ///
    /// # Errors
    ///
    /// [`ConfigError`] with every problem found.
    pub fn check<S: Application<Args = A>>(&self) -> Result<ServeConfig<S::Config>, ConfigError> {
        let mut problems = ConfigProblems::new();
        let listeners = self.listeners.check(&mut problems, S::PORTS);
        let tls_files = self.tls.check(&mut problems);
        let trusted_proxies = self.proxies.check(&mut problems);
        let web_origins = self.web.check(&mut problems);
        let tokens = self.tokens.check(&mut problems);
        let auth_mode = listeners.map(|listeners| listeners.auth_mode);
        let enforcement = self
            .enforcement
            .check(&mut problems, auth_mode, &self.tokens.trusted_issuers);
        let database = self.postgres.check(&mut problems, S::NAME);
        let requests = self.requests.check(&mut problems);
        let telemetry = self.telemetry.check(&mut problems);
        let own = S::check(&self.own, &mut problems);
        let config = (|| {
            Some(ServeConfig {
                listeners: listeners?,
                tls_files: tls_files?,
                trusted_proxies: trusted_proxies?,
                web_origins: web_origins?,
                tokens: tokens?,
                enforcement: enforcement?,
                database: database?,
                requests: requests?,
                telemetry: telemetry?,
                own: own?,
            })
        })();
        problems.finish(config)
    }
}
