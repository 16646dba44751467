//! The life of a service: command line, start, serving, stop.

use std::{error::Error, io, process::ExitCode, sync::Arc, time::Duration};

use clap::{CommandFactory, FromArgMatches};
use tokio::{
    net::TcpListener,
    signal::unix::{SignalKind, signal},
    time::timeout,
};
use tokio_util::{sync::CancellationToken, task::TaskTracker};

use crate::{
    application::{Application, CommandError, Resources, ServeConfig},
    auth::{EndedSessions, KeySet, TokenState, TokenVerifier},
    check_database,
    cli::{Cli, Command, MigrateArgs},
    config::{AuthMode, ConfigError, ConfigProblems},
    database::{Database, MigrationError},
    entropy::Entropy,
    health_command::{HealthArgs, Unhealthy},
    metrics_page,
    readiness::Readiness,
    secret_keys_command,
    server::{BuildError, ServerBuilder, ServerConfig},
    telemetry::{self, TelemetryError},
    time::Clock,
    tls::{Tls, TlsError},
};

/// `EX_USAGE` of sysexits.h: the configuration is wrong, and a restart does not help.
const EXIT_CONFIG: u8 = 64;

/// The reason why a service did not start, or stopped.
#[derive(Debug, thiserror::Error)]
enum RunError {
    #[error(transparent)]
    Config(#[from] ConfigError),
    #[error("TLS: {0}")]
    Tls(#[from] TlsError),
    #[error(transparent)]
    Telemetry(#[from] TelemetryError),
    #[error(transparent)]
    Build(#[from] BuildError),
    #[error(transparent)]
    Assemble(Box<dyn Error + Send + Sync>),
    #[error("{name} {addr}: {error}")]
    Listen {
        name: &'static str,
        addr: std::net::SocketAddr,
        error: io::Error,
    },
    #[error("the database must not be served from: {0}")]
    Database(String),
    #[error(transparent)]
    Migration(#[from] MigrationError),
    #[error(transparent)]
    Command(Box<dyn Error + Send + Sync>),
    #[error(transparent)]
    Unhealthy(#[from] Unhealthy),
    #[error("serving failed: {0}")]
    Serve(#[from] tonic::transport::Error),
    #[error("the runtime cannot start: {0}")]
    Runtime(io::Error),
}

impl From<CommandError> for RunError {
    fn from(error: CommandError) -> Self {
        match error {
            CommandError::Config(error) => Self::Config(error),
            CommandError::Failed(error) => Self::Command(error),
        }
    }
}

/// The `main` of a service: parses the command line and the environment, and runs the subcommand.
#[must_use]
pub fn main<S: Application>() -> ExitCode {
    let command = Cli::<S::Args, S::Command>::command()
        .name(S::NAME)
        .about(S::ABOUT);
    let parsed = command
        .try_get_matches()
        .and_then(|matches| Cli::<S::Args, S::Command>::from_arg_matches(&matches));
    let cli = match parsed {
        Ok(cli) => cli,
        Err(error) => {
            // The exit code remains when nothing can be printed.
            let _ = error.print();
            // `--help` and `--version` also end here, and are not errors.
            return if error.use_stderr() {
                ExitCode::from(EXIT_CONFIG)
            } else {
                ExitCode::SUCCESS
            };
        }
    };
    match execute::<S>(cli.command) {
        Ok(()) => ExitCode::SUCCESS,
        Err(error) => {
            print_error(S::NAME, &error);
            match error {
                RunError::Config(_) | RunError::Tls(_) => ExitCode::from(EXIT_CONFIG),
                _ => ExitCode::FAILURE,
            }
        }
    }
}

#[expect(clippy::print_stderr, reason = "a program that cannot start prints its error")]
fn print_error(name: &str, error: &RunError) {
    eprintln!("{name}: {error}");
}

fn execute<S: Application>(command: Command<S::Args, S::Command>) -> Result<(), RunError> {
    match command {
        Command::CheckConfig(args) => {
            let config = args.check::<S>()?;
            Tls::load(config.tls_files)?;
            Ok(())
        }
        Command::Health(args) => health::<S>(&args),
        Command::Migrate(args) => runtime()?.block_on(migrate::<S>(args)),
        Command::CheckDatabase(args) => Ok(runtime()?.block_on(check_database::run::<S>(*args))?),
        Command::SecretKeys(args) => Ok(runtime()?.block_on(secret_keys_command::run::<S>(args))?),
        Command::Own(command) => Ok(runtime()?.block_on(S::command(command))?),
        Command::Serve(args) => {
            let config = args.check::<S>()?;
            let runtime = runtime()?;
            let served = runtime.block_on(serve::<S>(config));
            // Do not wait for a hash that is still being computed.
            runtime.shutdown_timeout(Duration::from_millis(500));
            served
        }
    }
}

fn runtime() -> Result<tokio::runtime::Runtime, RunError> {
    tokio::runtime::Builder::new_multi_thread()
        .enable_all()
        .build()
        .map_err(RunError::Runtime)
}

#[expect(
    clippy::print_stdout,
    reason = "`migrate` is run by a person or a job and prints its result"
)]
async fn migrate<S: Application>(args: MigrateArgs) -> Result<(), RunError> {
    let mut problems = ConfigProblems::new();
    let url = problems.secret(
        "MIGRATION_DATABASE_URL",
        args.migration_database_url.as_ref(),
        args.migration_database_url_file.as_ref(),
    );
    let url = problems.finish(url)?;
    match args.undo_to {
        Some(version) => {
            S::migrations().undo(&url, version).await?;
            println!("schema {} is at version {version} or below", S::NAME);
        }
        None => {
            let (version, newest) = (S::migrations().run(&url).await?, S::migrations().newest());
            match version > newest {
                true => println!(
                    "schema {} is at version {version}, which is newer than this program's {newest} and allows it: \
                     nothing to do",
                    S::NAME
                ),
                false => println!("schema {} is at version {version}", S::NAME),
            }
        }
    }
    Ok(())
}

#[expect(
    clippy::print_stdout,
    reason = "`health` is run by a person or a probe and prints its result"
)]
fn health<S: Application>(args: &HealthArgs) -> Result<(), RunError> {
    let [_, port, _] = S::PORTS;
    let question = args.check(S::NAME, port, S::DESCRIPTORS)?;
    // A probe runs every few seconds: one thread does.
    let runtime = tokio::runtime::Builder::new_current_thread()
        .enable_all()
        .build()
        .map_err(RunError::Runtime)?;
    runtime.block_on(question.ask())?;
    println!("serving");
    Ok(())
}

async fn serve<S: Application>(config: ServeConfig<S::Config>) -> Result<(), RunError> {
    let _telemetry = telemetry::start(&config.telemetry, S::NAME)?;
    let tls = Arc::new(Tls::load(config.tls_files)?);
    let database = Database::new(&config.database).map_err(|error| RunError::Database(error.to_string()))?;
    let stop = CancellationToken::new();
    let resources = Resources {
        database: Arc::new(database),
        keys: Arc::new(KeySet::empty()),
        ended: Arc::new(EndedSessions::new()),
        auth_mode: config.listeners.auth_mode,
        tls: Arc::clone(&tls),
        tokens: config.tokens,
        clock: Clock::system(),
        entropy: Entropy::system(),
        tasks: TaskTracker::new(),
        stop: stop.clone(),
    };
    let verifier = TokenVerifier::new(
        resources.tokens.issuer.clone(),
        &resources.tokens.audience,
        Arc::clone(&resources.keys),
        Arc::clone(&resources.ended),
        resources.clock.clone(),
    )
    .trusting(resources.tokens.trusted.clone());
    let server_config = ServerConfig {
        requests: config.requests,
        tls: Arc::clone(&tls),
        trusted_proxies: config.trusted_proxies,
        web_origins: config.web_origins,
        verifier,
        auth_mode: config.listeners.auth_mode,
        enforcement: config.enforcement,
        streams_per_user: S::STREAMS_PER_USER,
        clock: resources.clock.clone(),
        entropy: resources.entropy.clone(),
    };
    // All sockets are opened before serving begins, so that a taken port is reported at once.
    let listeners = config.listeners;
    let api = bind("API_ADDR", listeners.api).await?;
    let health_port = bind("HEALTH_ADDR", listeners.health).await?;
    metrics_page::serve(listeners.metrics)?;

    let inspection = secret_keys_command::inspection(
        Arc::clone(&resources.database),
        resources.tokens.secret_keys.ids().collect(),
        S::inspection(&config.own, &resources.database),
    );
    let builder = ServerBuilder::new(server_config, S::DESCRIPTORS);
    let server = S::assemble(config.own, &resources, builder)
        .map_err(RunError::Assemble)?
        .build()?;
    let health = server.health().clone();
    health.begin().await;
    resources.tasks.spawn(tls.reload_on_change(stop.clone()));
    for issuer in resources.tokens.trusted.iter().cloned() {
        resources.tasks.spawn(issuer.keep_fresh(stop.clone()));
    }
    resources.tasks.spawn(stop_on_signal(stop.clone()));
    tracing::info!(api = %listeners.api, health = %listeners.health, metrics = %listeners.metrics, "listening");

    let readiness = Readiness {
        database: Arc::clone(&resources.database),
        newest: S::migrations().newest(),
        environment: listeners.environment,
        inspection,
        tokens: (listeners.auth_mode == AuthMode::Token)
            .then(|| TokenState::new(Arc::clone(&resources.keys), Arc::clone(&resources.ended))),
        health: health.clone(),
    };
    let outcome = tokio::select! {
        served = server.serve(api, stop.clone()) => served.map_err(RunError::from),
        failed = health.serve(health_port) => failed.map_err(RunError::from),
        refused = readiness.monitor(stop.clone()) => Err(RunError::Database(refused)),
    };
    stop.cancel();
    resources.tasks.close();
    if timeout(Duration::from_secs(2), resources.tasks.wait())
        .await
        .is_err()
    {
        tracing::warn!("background tasks did not stop in time");
    }
    resources.database.close();
    tracing::info!("stopped");
    outcome
}

async fn bind(name: &'static str, addr: std::net::SocketAddr) -> Result<TcpListener, RunError> {
    TcpListener::bind(addr)
        .await
        .map_err(|error| RunError::Listen { name, addr, error })
}

async fn stop_on_signal(stop: CancellationToken) {
    let (Ok(mut terminate), Ok(mut interrupt)) =
        (signal(SignalKind::terminate()), signal(SignalKind::interrupt()))
    else {
        tracing::error!("cannot receive signals: only SIGKILL will stop this process");
        return;
    };
    tokio::select! {
        _ = terminate.recv() => tracing::info!("SIGTERM: waiting for calls in flight"),
        _ = interrupt.recv() => tracing::info!("SIGINT: waiting for calls in flight"),
        () = stop.cancelled() => {}
    }
    stop.cancel();
}
