//! Starts all processes, prints their logs, and stops them.

use std::{
    fs,
    io::IsTerminal,
    path::Path,
    sync::Arc,
    time::{Duration, Instant},
};

use anyhow::{Context, Result};
use clap::Args;
use haven_testkit::{
    binaries::Binaries,
    bootstrap::{Migrations, bootstrap},
    certificates::{Certificates, keep_signing_key},
    cluster::{self, Cluster, ConfigFiles, Settings},
    environment::Environment,
    installation::Installation,
    process::Signal,
    queries,
    secrets::{SUPERUSER, Secrets},
    service::Service,
    state::State,
};
use tokio::{
    signal::unix::{SignalKind, signal},
    sync::mpsc,
    task::spawn_blocking,
    time::sleep,
};

use crate::{
    DATABASE, STATE, example_calls,
    listeners::Ports,
    pages::{self, Pages},
    say,
    tail::LogTail,
};

/// The time that services get to stop. It is a little longer than their `DRAIN_TIMEOUT`.
const DRAIN: Duration = Duration::from_secs(25);

/// Start everything, and stop it on Ctrl-C.
#[derive(Args)]
pub(crate) struct Up {
    #[command(flatten)]
    ports: Ports,
    /// The log filter of the services: a level, or `target=level,…`
    #[arg(
        long,
        env = "LOG_FILTER",
        default_value = "info",
        help_heading = "Logs and traces"
    )]
    log_filter: String,
    /// The endpoint for traces (OTLP over gRPC), for example http://127.0.0.1:4317 [default: none]
    #[arg(
        long,
        env = "OTLP_ENDPOINT",
        value_name = "URL",
        help_heading = "Logs and traces"
    )]
    otlp_endpoint: Option<String>,
    /// Build the pages of deploy/web, and serve them: it needs npm, and Node.js 20.19 or newer
    #[arg(long, help_heading = "Browsers")]
    web: bool,
    /// The origins of pages that may call both services from a browser, for example http://localhost:5173 [default: none]
    #[arg(long, env = "WEB_ORIGINS", value_name = "ORIGIN,…", help_heading = "Browsers")]
    web_origins: Option<String>,
}

/// The running processes. They are dropped in this order when a step of the start fails.
struct Running {
    pages: Option<Pages>,
    services: [Service; 2],
    cluster: Cluster,
    _state: State,
}

impl Up {
    /// Runs until a signal arrives or a process ends.
    pub(crate) async fn run(self, reset: bool) -> Result<()> {
        let mut signals = signals()?;
        let mut running = tokio::select! {
            running = self.start(reset) => running?,
            // The processes that were started are stopped when they are dropped.
            _ = signals.recv() => return Ok(()),
        };
        let problem = tokio::select! {
            problem = running.watch() => Some(problem),
            _ = signals.recv() => None,
        };
        println!();
        say("Stopping (press Ctrl-C again to stop immediately)");
        running.stop(&mut signals).await;
        match problem {
            Some(problem) => Err(problem),
            None => {
                say("Stopped");
                Ok(())
            }
        }
    }

    async fn start(&self, reset: bool) -> Result<Running> {
        let start = Instant::now();
        let installation = spawn_blocking(|| Installation::require(|line| say(line))).await??;
        let state = State::take(STATE)?;
        let outdated = spawn_blocking({
            let installation = installation.clone();
            move || installation.outdated()
        });
        match reset {
            true => {
                cluster::discard(&state)?;
                say(format!("Deleted all data in {}", state.path().display()));
            }
            // A server that is still ending after its parent would hold the port.
            false => cluster::end_orphan(state.path())?,
        }
        self.ports.check(self.web)?;
        self.ports.publish(state.path())?;

        if self.web {
            say("Building the pages");
            spawn_blocking(pages::build).await??;
        }
        say("Building identity and data");
        let build = spawn_blocking(Binaries::build);
        let secrets = Arc::new(Secrets::keep(state.path())?);
        let certificates = Certificates::keep(&state.path().join("certificates"))?;
        let signing_key = state.path().join("signing-key.pem");
        keep_signing_key(&signing_key)?;
        let settings = Settings {
            port: self.ports.postgres_port,
            durable: true,
            connections: 100,
            files: ConfigFiles::Development,
        };
        let cluster = Cluster::start(
            &installation,
            state.path(),
            &certificates,
            Arc::clone(&secrets),
            settings,
        )
        .await?;
        say(format!(
            "Postgres {} is running in {}",
            installation.version,
            state.path().display()
        ));
        if let Some(advice) = outdated.await? {
            say(advice);
        }
        let binaries = build.await??;
        let database = bootstrap(
            &cluster.database(SUPERUSER),
            DATABASE,
            Migrations::Programs(&binaries),
        )
        .await;
        // The usual cause is a new migration that was edited after it was applied.
        let database =
            database.context("the database cannot be migrated (`cargo dev reset` creates a new one)")?;
        if installation.has_statement_statistics() {
            queries::enable(&database).await?;
        }
        say("Roles, schemas and migrations are up to date");

        let environment = Environment {
            database: &database,
            certificates: &certificates,
            secrets: &secrets,
            signing_key: &signing_key,
            erasure_journal: &state.path().join("erasures.jsonl"),
            identity: self.ports.identity(),
            data: self.ports.data(),
        };
        let mut services =
            ["identity", "data"].map(|name| self.service(name, &binaries, &environment, state.path()));
        for service in &mut services {
            service.launch()?;
        }
        for service in &mut services {
            service.ready().await?;
        }
        say(format!(
            "Both services are ready after {:.1} s",
            start.elapsed().as_secs_f32()
        ));
        println!("{}", example_calls::examples(&environment, &database));
        let mut pages = None;
        if self.web {
            pages = Some(Pages::start(self.ports.web_port, &environment, state.path()).await?);
            say(format!(
                "The pages are at {}",
                pages::address(self.ports.web_port)
            ));
        }
        Ok(Running {
            pages,
            services,
            cluster,
            _state: state,
        })
    }

    /// Returns the origins of pages that may call the services.
    fn origins(&self) -> Option<String> {
        let own = self.web.then(|| pages::origins(self.ports.web_port));
        let all: Vec<_> = self.web_origins.clone().into_iter().chain(own).collect();
        (!all.is_empty()).then(|| all.join(","))
    }

    fn service(
        &self,
        name: &'static str,
        binaries: &Binaries,
        environment: &Environment<'_>,
        state: &Path,
    ) -> Service {
        let mut variables = environment.of(name);
        if name == "data" {
            let url = environment.database.url("data_worker");
            variables.insert("LISTEN_DATABASE_URL".to_owned(), url);
        }
        variables.insert("LOG_FORMAT".to_owned(), "pretty".to_owned());
        variables.insert("LOG_FILTER".to_owned(), self.log_filter.clone());
        variables.extend(
            self.otlp_endpoint
                .clone()
                .map(|url| ("OTLP_ENDPOINT".to_owned(), url)),
        );
        variables.extend(self.origins().map(|origins| ("WEB_ORIGINS".to_owned(), origins)));
        if !std::io::stdout().is_terminal() {
            variables.insert("NO_COLOR".to_owned(), "1".to_owned());
        }
        let listeners = if name == "identity" {
            environment.identity
        } else {
            environment.data
        };
        let log = state.join(name).with_extension("log");
        // Each run starts with an empty log.
        let _ = fs::remove_file(&log);
        Service::new(name, binaries.of(name), listeners, variables, &log)
    }
}

impl Running {
    /// Prints the services' logs until a process ends, and returns how it ended.
    async fn watch(&mut self) -> anyhow::Error {
        let mut tails = self
            .services
            .each_ref()
            .map(|service| LogTail::new(service.name, service.log()));
        loop {
            for tail in &mut tails {
                tail.print_new_lines();
            }
            if let Some(problem) = self.cluster.failure() {
                return problem;
            }
            if let Some(problem) = self.pages.as_mut().and_then(Pages::failure) {
                return problem;
            }
            for service in &mut self.services {
                if let Some(problem) = service.failure() {
                    return problem;
                }
            }
            sleep(Duration::from_millis(100)).await;
        }
    }

    /// Stops both services gracefully, and then Postgres. A second signal ends running calls.
    async fn stop(mut self, signals: &mut mpsc::Receiver<()>) {
        let limit = Instant::now() + DRAIN;
        drop(self.pages.take());
        for service in &mut self.services {
            service.signal(Signal::TERM);
        }
        while self.services.iter_mut().any(Service::runs) && Instant::now() < limit {
            tokio::select! {
                () = sleep(Duration::from_millis(20)) => {}
                _ = signals.recv() => break,
            }
        }
        for service in &mut self.services {
            service.kill();
        }
        self.cluster.stop();
    }
}

/// Returns a channel that receives a message on SIGINT (Ctrl-C), SIGTERM and SIGHUP (end of the terminal).
fn signals() -> Result<mpsc::Receiver<()>> {
    let (sender, receiver) = mpsc::channel(1);
    for kind in [
        SignalKind::interrupt(),
        SignalKind::terminate(),
        SignalKind::hangup(),
    ] {
        let mut arrivals = signal(kind).context("installing signal handlers")?;
        let sender = sender.clone();
        tokio::spawn(async move {
            while arrivals.recv().await.is_some() {
                let _ = sender.send(()).await;
            }
        });
    }
    Ok(receiver)
}
