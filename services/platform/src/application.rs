//! What a service is, to the platform that runs it.

use std::{error::Error, fmt, sync::Arc};

use clap::{Args, Subcommand};
use futures_util::future::BoxFuture;
use tokio_util::{sync::CancellationToken, task::TaskTracker};

use crate::{
    auth::{EndedSessions, KeySet},
    config::{
        AuthMode, ConfigError, ConfigProblems, ListenerArgs, Listeners, PostgresArgs, RequestArgs, Requests,
        Telemetry, TelemetryArgs, TlsArgs, TlsFiles, TokenArgs, Tokens,
    },
    database::{Database, DatabaseConfig, InspectionError, Migrations},
    entropy::Entropy,
    server::ServerBuilder,
    time::Clock,
    tls::Tls,
};

/// A service: its name, its own configuration, and how its resources are put together.
///
/// Everything that services have in common, from the command line to the graceful stop, is in [`crate::run`].
pub trait Application: 'static {
    /// Its name, which is also its schema's and the prefix of its roles.
    const NAME: &'static str;
    /// One line about it, for `--help`.
    const ABOUT: &'static str;
    /// The ports that it listens on by default: API, health, metrics.
    const PORTS: [u16; 3];
    /// The maximum number of streams that one user may have open at once on a replica, of each kind: those that end by
    /// themselves, and those that go on.
    const STREAMS_PER_USER: usize;
    /// The descriptors of its services: an encoded `FileDescriptorSet`.
    const DESCRIPTORS: &'static [u8];
    /// Its own flags.
    type Args: Args + fmt::Debug;
    /// Its own configuration, checked.
    type Config;
    /// What it can do beside serving, migrating and checking its configuration, each as a subcommand of the program. A
    /// service that can do nothing else says [`std::convert::Infallible`].
    type Command: Subcommand + fmt::Debug;

    /// Checks its own flags; everything that is wrong goes to `problems`.
    fn check(args: &Self::Args, problems: &mut ConfigProblems) -> Option<Self::Config>;

    /// Its schema's migrations.
    fn migrations() -> Migrations;

    /// Puts its services together and starts its background tasks, which end when `resources.stop` says so.
    ///
    /// # Errors
    ///
    /// When a part cannot be made. Nothing was served yet.
    fn assemble(
        config: Self::Config,
        resources: &Resources,
        server: ServerBuilder,
    ) -> Result<ServerBuilder, Box<dyn Error + Send + Sync>>;

    /// What has to be looked at beside the database itself before anything is served from it: whether what is stored can be
    /// served with this configuration.
    fn inspection(_config: &Self::Config, _database: &Arc<Database>) -> Inspection {
        Box::new(|| Box::pin(async { Ok(()) }))
    }

    /// Does what `command` says, and ends. It brings its own flags; Postgres is reached by
    /// [`WorkerArgs`](crate::config::WorkerArgs) and [`Database::worker_only`], or as people too by
    /// [`PostgresArgs`], [`Database::new`] and [`Database::admit`].
    ///
    /// # Errors
    ///
    /// What the program says as its last word, with the exit code that belongs to it.
    fn command(command: Self::Command) -> impl Future<Output = Result<(), CommandError>>;
}

/// Asks whether what is stored can be served: as often as the database does not answer.
pub type Inspection = Box<dyn Fn() -> BoxFuture<'static, Result<(), InspectionError>> + Send + Sync>;

/// Why a command did not do what it was for.
#[derive(Debug, thiserror::Error)]
pub enum CommandError {
    /// Its flags are incomplete or wrong: exit code 64.
    #[error(transparent)]
    Config(#[from] ConfigError),
    /// It failed, or found what it looked for: exit code 1.
    #[error(transparent)]
    Failed(Box<dyn Error + Send + Sync>),
}

impl CommandError {
    /// It failed because of `error`, which is shown to whoever ran it.
    pub fn failed(error: impl Into<Box<dyn Error + Send + Sync>>) -> Self {
        Self::Failed(error.into())
    }
}

/// What a service is made of.
#[derive(Debug)]
pub struct Resources {
    /// Its schema.
    pub database: Arc<Database>,
    /// The keys that verify access tokens: for the service to fill, and to go on filling.
    pub keys: Arc<KeySet>,
    /// The sessions whose access tokens are refused: for the service to fill, and to go on filling.
    pub ended: Arc<EndedSessions>,
    /// How people prove who they are. Where nobody looks at tokens, keys and ended sessions need not be filled.
    pub auth_mode: AuthMode,
    /// Its certificate, and whom it trusts.
    pub tls: Arc<Tls>,
    /// Whose tokens are accepted, and the secret for keyed hashes.
    pub tokens: Tokens,
    /// The time of day.
    pub clock: Clock,
    /// Randomness.
    pub entropy: Entropy,
    /// Where background tasks are spawned.
    pub tasks: TaskTracker,
    /// Says that it is time to stop.
    pub stop: CancellationToken,
}

/// The flags that every service has, and its own.
#[derive(Args, Debug)]
pub struct ServeArgs<A: Args> {
    #[command(flatten, next_help_heading = "Listeners")]
    listeners: ListenerArgs,
    #[command(flatten, next_help_heading = "TLS and callers")]
    tls: TlsArgs,
    #[command(flatten, next_help_heading = "Tokens and keyed hashes")]
    tokens: TokenArgs,
    #[command(flatten, next_help_heading = "Postgres")]
    postgres: PostgresArgs,
    #[command(flatten, next_help_heading = "Requests")]
    requests: RequestArgs,
    #[command(flatten, next_help_heading = "Logs and traces")]
    telemetry: TelemetryArgs,
    #[command(flatten, next_help_heading = "This service")]
    own: A,
}

/// A service's configuration, complete and checked.
#[derive(Debug)]
pub struct ServeConfig<C> {
    pub(crate) listeners: Listeners,
    pub(crate) tls_files: TlsFiles,
    pub(crate) tokens: Tokens,
    pub(crate) database: DatabaseConfig,
    pub(crate) requests: Requests,
    pub(crate) telemetry: Telemetry,
    pub(crate) own: C,
}

impl<A: Args> ServeArgs<A> {
    /// Checks everything, and reports all that is wrong at once.
    ///
    /// # Errors
    ///
    /// Every problem.
    pub fn check<S: Application<Args = A>>(&self) -> Result<ServeConfig<S::Config>, ConfigError> {
        let mut problems = ConfigProblems::new();
        let listeners = self.listeners.check(&mut problems, S::PORTS);
        let tls_files = self.tls.check(&mut problems);
        let tokens = self.tokens.check(&mut problems);
        let database = self.postgres.check(&mut problems, S::NAME);
        let requests = self.requests.check(&mut problems);
        let telemetry = self.telemetry.check(&mut problems);
        let own = S::check(&self.own, &mut problems);
        let config = (|| {
            Some(ServeConfig {
                listeners: listeners?,
                tls_files: tls_files?,
                tokens: tokens?,
                database: database?,
                requests: requests?,
                telemetry: telemetry?,
                own: own?,
            })
        })();
        problems.finish(config)
    }
}
