//! Writes the gRPC service config, with which gRPC libraries retry calls.

use std::fs;

use anyhow::{Context, Result, ensure};
use clap::Args;
use haven_testkit::service_config;

use crate::say;

/// Write the gRPC service config, from the protos.
#[derive(Args)]
pub(crate) struct ServiceConfig {
    /// Change nothing, and fail if the file is stale
    #[arg(long)]
    check: bool,
}

impl ServiceConfig {
    /// Writes or checks the file.
    pub(crate) fn run(&self) -> Result<()> {
        let path = service_config::path();
        let (old, new) = (
            fs::read_to_string(&path).unwrap_or_default(),
            service_config::text()?,
        );
        let name = "proto/haven.service_config.json";
        if old == new {
            say(format!("{name}: up to date"));
            return Ok(());
        }
        ensure!(
            !self.check,
            "{name} is stale: run `cargo dev service-config`, and commit the result"
        );
        fs::write(&path, new).with_context(|| format!("writing {}", path.display()))?;
        say(format!("{name}: updated"));
        Ok(())
    }
}
