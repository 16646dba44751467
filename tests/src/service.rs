//! The process of a service: starts, pauses, stops and kills it.

use std::{
    env, fs,
    path::{Path, PathBuf},
    process::ExitStatus,
    thread,
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

/// The time that a service gets to become ready, on a machine that is busy with other tests.
const START: Duration = Duration::from_secs(60);
/// The time that a service gets to stop. It is a little longer than its `DRAIN_TIMEOUT`.
const STOP: Duration = Duration::from_secs(25);
/// The time in which a service writes what it has logged: ten times as long as its writer collects lines.
const LOGGED: Duration = Duration::from_millis(50);

/// A service of the stack, running or not. Dropping the value kills the process.
pub struct Service {
    /// The name of the service: `identity` or `data`.
    pub name: &'static str,
    /// The ports of the service.
    pub listeners: Listeners,
    /// The environment variables. A change takes effect at the next start.
    pub variables: Variables,
    binary: PathBuf,
    log: PathBuf,
    process: Option<Process>,
}

impl Service {
    /// Creates a service that is not started. Its output will be appended to `log`.
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

    /// Starts the process, and waits until all its gRPC services are ready.
    pub async fn start(&mut self) -> Result<()> {
        self.launch()?;
        self.ready().await
    }

    /// Starts the process without waiting.
    pub fn launch(&mut self) -> Result<()> {
        let mut serve = command(&self.binary, None, OnDeath::Kill);
        // Does not inherit the environment, so that tests do the same on every machine.
        serve
            .arg("serve")
            .env_clear()
            .envs(&self.variables)
            .env("RUST_BACKTRACE", "1");
        serve.envs(env::var_os("PATH").map(|path| ("PATH", path)));
        self.process = Some(Process::start(self.name, serve, &self.log)?);
        Ok(())
    }

    /// Waits until the health port answers that the process is alive. It may not be ready.
    pub async fn alive(&self) -> Result<()> {
        let limit = Instant::now() + START;
        let mut client = HealthClient::new(health_channel(self.listeners.health)?);
        while client.check(HealthCheckRequest::default()).await.is_err() {
            if Instant::now() > limit {
                bail!("{} is not alive", self.name);
            }
            tokio::time::sleep(Duration::from_millis(15)).await;
        }
        Ok(())
    }

    /// Waits until the health port reports all gRPC services of the process as serving. Fails if the process ends
    /// first.
    pub async fn ready(&mut self) -> Result<()> {
        let limit = Instant::now() + START;
        let mut client = HealthClient::new(health_channel(self.listeners.health)?);
        for service in grpc_services(self.name)? {
            loop {
                let request = HealthCheckRequest {
                    service: service.clone(),
                };
                let response = client.check(request).await;
                if response.is_ok_and(|response| response.get_ref().status() == ServingStatus::Serving) {
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

    /// Sends SIGTERM, and waits for the end of the process. Returns true if it ended by itself in time.
    pub fn stop(&mut self) -> bool {
        self.process
            .take()
            .is_none_or(|mut process| process.stop(Signal::TERM, STOP))
    }

    /// Sends a signal to the process, if it runs.
    pub fn signal(&mut self, signal: Signal) {
        if let Some(process) = &mut self.process {
            process.signal(signal);
        }
    }

    /// Ends the process with SIGKILL.
    pub fn kill(&mut self) {
        self.process = None;
    }

    /// Pauses the process with SIGSTOP: its sockets stay open, but it does not respond.
    pub fn pause(&mut self) {
        self.signal(Signal::STOP);
    }

    /// Resumes a paused process.
    pub fn resume(&mut self) {
        self.signal(Signal::CONT);
    }

    /// Returns true if the process is running.
    pub fn runs(&mut self) -> bool {
        self.process
            .as_mut()
            .is_some_and(|process| process.ended().is_none())
    }

    /// Returns the exit status of the process, or `None` if it is running or was not started.
    pub fn ended(&mut self) -> Option<ExitStatus> {
        self.process.as_mut()?.ended()
    }

    /// Returns an error with the last log lines if the process has ended by itself.
    pub fn failure(&mut self) -> Option<anyhow::Error> {
        let process = self.process.as_mut()?;
        process.ended().is_some().then(|| process.failure())
    }

    /// Returns the process id, or `None` if the process was not started.
    pub fn pid(&self) -> Option<u32> {
        self.process.as_ref().map(Process::pid)
    }

    /// Returns the whole log of the process, of all its runs, with the lines that it has logged by now.
    pub fn output(&self) -> Result<String> {
        let bytes = fs::read(self.log()).with_context(|| format!("reading {}", self.log.display()))?;
        Ok(String::from_utf8_lossy(&bytes).into_owned())
    }

    /// Returns the path of the log, after the time in which a service writes the lines that it has logged.
    pub fn log(&self) -> &Path {
        thread::sleep(LOGGED);
        &self.log
    }
}

/// Returns a channel to a health port. It connects on the first call.
pub fn health_channel(port: u16) -> Result<Channel> {
    let endpoint = Endpoint::from_shared(format!("http://127.0.0.1:{port}"))?;
    Ok(endpoint.timeout(Duration::from_secs(2)).connect_lazy())
}

/// Returns the full names of the gRPC services that the protos declare for the process `name`. Its health port must report
/// each of them.
pub fn grpc_services(name: &str) -> Result<Vec<String>> {
    let pool = DescriptorPool::decode(haven_proto::FILE_DESCRIPTOR_SET)?;
    let package = format!("haven.{name}.");
    let names = pool.services().map(|service| service.full_name().to_owned());
    Ok(names.filter(|service| service.starts_with(&package)).collect())
}
