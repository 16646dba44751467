//! A service as a process: started, ready, paused, killed, started again.

use std::{
    env, fs,
    path::{Path, PathBuf},
    process::ExitStatus,
    time::{Duration, Instant},
};

use anyhow::{Context, Result, bail};
use prost_reflect::DescriptorPool;
use rustix::process::Signal;
use tonic::transport::{Channel, Endpoint};
use tonic_health::pb::{
    HealthCheckRequest, health_check_response::ServingStatus, health_client::HealthClient,
};

use crate::{
    environment::{Listeners, Variables},
    process::{OnDeath, Process, command},
};

/// How long a service may take until it serves: on a machine that is busy with other tests.
const START: Duration = Duration::from_secs(60);
/// How long it may take to stop: a little longer than its own limit for draining.
const STOP: Duration = Duration::from_secs(25);

/// One of the two services, running or not. Dropping it kills it.
pub struct Service {
    /// `identity` or `data`.
    pub name: &'static str,
    /// Its ports.
    pub listeners: Listeners,
    /// Its configuration. A change counts from the next start.
    pub variables: Variables,
    binary: PathBuf,
    log: PathBuf,
    process: Option<Process>,
}

impl Service {
    /// A service that is not started yet, and will write its output to `log`.
    pub fn new(
        name: &'static str,
        binary: &Path,
        listeners: Listeners,
        variables: Variables,
        log: &Path,
    ) -> Self {
        let (binary, log) = (binary.to_owned(), log.to_owned());
        Self {
            name,
            listeners,
            variables,
            binary,
            log,
            process: None,
        }
    }

    /// Starts the process and waits until every service in it serves.
    pub async fn start(&mut self) -> Result<()> {
        self.launch()?;
        self.ready().await
    }

    /// Starts the process, and does not wait.
    pub fn launch(&mut self) -> Result<()> {
        let mut serve = command(&self.binary, None, OnDeath::Kill);
        // Nothing of the developer's own environment, so that a test does the same everywhere.
        serve
            .arg("serve")
            .env_clear()
            .envs(&self.variables)
            .env("RUST_BACKTRACE", "1");
        serve.envs(env::var_os("PATH").map(|path| ("PATH", path)));
        self.process = Some(Process::start(self.name, serve, &self.log)?);
        Ok(())
    }

    /// Waits until every service in the process serves, by the word of its health port. Fails when the process ends first.
    pub async fn ready(&mut self) -> Result<()> {
        let limit = Instant::now() + START;
        let mut client = HealthClient::new(health_channel(self.listeners.health)?);
        for service in grpc_services(self.name)? {
            loop {
                let request = HealthCheckRequest {
                    service: service.clone(),
                };
                let answer = client.check(request).await;
                if answer.is_ok_and(|answer| answer.get_ref().status() == ServingStatus::Serving) {
                    break;
                }
                let Some(process) = &mut self.process else {
                    bail!("{} is not started", self.name)
                };
                if process.ended().is_some() || Instant::now() > limit {
                    return Err(process.failure());
                }
                tokio::time::sleep(Duration::from_millis(10)).await;
            }
        }
        Ok(())
    }

    /// Asks the process to stop, and waits for it to drain. True when it ended by itself in time.
    pub fn stop(&mut self) -> bool {
        self.process
            .take()
            .is_none_or(|mut process| process.stop(Signal::TERM, STOP))
    }

    /// Sends the process a signal.
    pub fn signal(&mut self, signal: Signal) {
        if let Some(process) = &mut self.process {
            process.signal(signal);
        }
    }

    /// Ends the process as `kill -9` does.
    pub fn kill(&mut self) {
        self.process = None;
    }

    /// Stops the process in its tracks: it keeps its sockets, and answers nobody.
    pub fn pause(&mut self) {
        self.signal(Signal::STOP);
    }

    /// Lets a paused process go on.
    pub fn resume(&mut self) {
        self.signal(Signal::CONT);
    }

    /// Does the process run?
    pub fn runs(&mut self) -> bool {
        self.process
            .as_mut()
            .is_some_and(|process| process.ended().is_none())
    }

    /// How the process ended; `None` while it runs, and when it was not started.
    pub fn ended(&mut self) -> Option<ExitStatus> {
        self.process.as_mut()?.ended()
    }

    /// Why the process is no longer there, when it ended by itself.
    pub fn failure(&mut self) -> Option<anyhow::Error> {
        let process = self.process.as_mut()?;
        process.ended().is_some().then(|| process.failure())
    }

    /// The process's number; `None` when it was not started.
    pub fn pid(&self) -> Option<u32> {
        self.process.as_ref().map(Process::pid)
    }

    /// Everything that the process has written so far, in all its runs.
    pub fn output(&self) -> Result<String> {
        let bytes = fs::read(&self.log).with_context(|| format!("reading {}", self.log.display()))?;
        Ok(String::from_utf8_lossy(&bytes).into_owned())
    }

    /// The file that it writes to.
    pub fn log(&self) -> &Path {
        &self.log
    }
}

/// A connection to a health port, made when it is first used.
pub fn health_channel(port: u16) -> Result<Channel> {
    let endpoint = Endpoint::from_shared(format!("http://127.0.0.1:{port}"))?;
    Ok(endpoint.timeout(Duration::from_secs(2)).connect_lazy())
}

/// The full names of the gRPC services in the process called `name`, from the protos: what its health port knows.
pub fn grpc_services(name: &str) -> Result<Vec<String>> {
    let pool = DescriptorPool::decode(haven_proto::FILE_DESCRIPTOR_SET)?;
    let package = format!("haven.{name}.");
    let names = pool.services().map(|service| service.full_name().to_owned());
    Ok(names.filter(|service| service.starts_with(&package)).collect())
}
