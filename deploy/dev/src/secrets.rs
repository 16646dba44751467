//! Creates the certificates and secrets of an installation in containers.

use std::path::PathBuf;

use anyhow::Result;
use clap::Args;
use haven_testkit::secret_files::{Addresses, SecretFiles};

use crate::{DATABASE, compose, say};

/// Create the certificates and secrets that deploy/compose mounts.
#[derive(Args)]
pub(crate) struct SecretsFor {
    /// The directory of the files [default: deploy/compose/secrets]
    #[arg(long, value_name = "DIRECTORY")]
    directory: Option<PathBuf>,
    /// The address of Postgres, as containers reach it; its certificate is for postgres and for localhost
    #[arg(long, value_name = "HOST:PORT", default_value_t = Addresses::of_compose().postgres)]
    postgres: String,
    /// The address of the pooler, as containers reach it; that of Postgres if there is none
    #[arg(long, value_name = "HOST:PORT", default_value_t = Addresses::of_compose().pooler)]
    pooler: String,
}

impl SecretsFor {
    /// Creates the files that are missing.
    pub(crate) fn run(self) -> Result<()> {
        let directory = self.directory.unwrap_or_else(compose::secrets);
        let addresses = Addresses {
            postgres: self.postgres,
            pooler: self.pooler,
            database: DATABASE.to_owned(),
        };
        SecretFiles::keep(&directory, &addresses)?;
        say(format!(
            "The certificates and secrets are in {}",
            directory.display()
        ));
        Ok(())
    }
}
