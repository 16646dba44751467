//! The ports of all listeners. They always listen on loopback.

use std::{fs, path::Path};

use anyhow::{Context, Result, ensure};
use clap::Args;
use haven_testkit::{environment::Listeners, port, state};
use serde::{Deserialize, Serialize};

use crate::STATE;

/// The port of each listener.
#[derive(Args, Clone, Serialize, Deserialize)]
#[command(next_help_heading = "Ports, all on 127.0.0.1")]
pub(crate) struct Ports {
    /// identity: gRPC over TLS
    #[arg(long, value_name = "PORT", default_value_t = 50051)]
    identity_port: u16,
    /// identity: grpc.health.v1, plain text
    #[arg(long, value_name = "PORT", default_value_t = 50061)]
    identity_health_port: u16,
    /// identity: Prometheus metrics over HTTP
    #[arg(long, value_name = "PORT", default_value_t = 9101)]
    identity_metrics_port: u16,
    /// data: gRPC over TLS
    #[arg(long, value_name = "PORT", default_value_t = 50052)]
    data_port: u16,
    /// data: grpc.health.v1, plain text
    #[arg(long, value_name = "PORT", default_value_t = 50062)]
    data_health_port: u16,
    /// data: Prometheus metrics over HTTP
    #[arg(long, value_name = "PORT", default_value_t = 9102)]
    data_metrics_port: u16,
    /// Postgres
    #[arg(long, value_name = "PORT", default_value_t = 15432)]
    pub(crate) postgres_port: u16,
    /// The pages of --web, and the calls of these pages: HTTP
    // A `cargo dev` that was built before there were pages has no such port.
    #[serde(default)]
    #[arg(long, value_name = "PORT", default_value_t = 50080)]
    pub(crate) web_port: u16,
}

impl Ports {
    /// Returns the ports of identity.
    pub(crate) fn identity(&self) -> Listeners {
        Listeners {
            api: self.identity_port,
            health: self.identity_health_port,
            metrics: self.identity_metrics_port,
        }
    }

    /// Returns the ports of data.
    pub(crate) fn data(&self) -> Listeners {
        Listeners {
            api: self.data_port,
            health: self.data_health_port,
            metrics: self.data_metrics_port,
        }
    }

    /// Checks that all ports are free and different, that of the pages if they are served. The error names the flag of each
    /// conflicting port.
    pub(crate) fn check(&self, with_pages: bool) -> Result<()> {
        let mut flags = vec![
            ("--identity-port", self.identity_port),
            ("--identity-health-port", self.identity_health_port),
            ("--identity-metrics-port", self.identity_metrics_port),
            ("--data-port", self.data_port),
            ("--data-health-port", self.data_health_port),
            ("--data-metrics-port", self.data_metrics_port),
            ("--postgres-port", self.postgres_port),
        ];
        if with_pages {
            flags.push(("--web-port", self.web_port));
        }
        let taken: Vec<String> = (flags.iter().filter(|(_, number)| !port::free(*number)))
            .map(|(flag, number)| format!("port {number} is in use; choose another one with {flag}"))
            .collect();
        ensure!(taken.is_empty(), "{}", taken.join("\n       "));
        for (position, (flag, number)) in flags.iter().enumerate() {
            if let Some((other, _)) = flags[..position].iter().find(|(_, earlier)| earlier == number) {
                anyhow::bail!("{other} and {flag} must differ, but both are {number}");
            }
        }
        Ok(())
    }

    /// Writes the ports to a file in `state`, which [`Ports::running`] reads.
    pub(crate) fn publish(&self, state: &Path) -> Result<()> {
        Ok(fs::write(
            state.join("ports.json"),
            serde_json::to_vec_pretty(self)?,
        )?)
    }

    /// Reads the ports of the running installation. Fails if none is running.
    pub(crate) fn running() -> Result<Self> {
        ensure!(
            state::holder(STATE).is_some(),
            "Haven is not running: start it with `cargo dev`"
        );
        let text = fs::read(state::directory(STATE).join("ports.json")).context("Haven is still starting")?;
        Ok(serde_json::from_slice(&text)?)
    }
}
