//! Runs a schema's migrations.

use secrecy::{ExposeSecret, SecretString};
use sqlx::{Connection, PgConnection, migrate::Migrator, postgres::PgConnectOptions};

use super::error::DbError;

/// A schema's migrations, as they were when the program was built.
#[derive(Debug)]
pub struct Migrations {
    /// What `sqlx::migrate!` found.
    pub migrator: Migrator,
}

/// Why migrating did not work. Migrations hold no person's data, so what Postgres says is shown in full.
#[derive(Debug, thiserror::Error)]
pub enum MigrationError {
    /// The database cannot be reached.
    #[error("cannot connect as the schema's owner: {0}")]
    Connect(DbError),
    /// A migration failed, or one that was run is not the one that this program knows.
    #[error(transparent)]
    Migrate(#[from] sqlx::migrate::MigrateError),
}

impl Migrations {
    /// The newest version that this program knows.
    #[must_use]
    pub fn newest(&self) -> i64 {
        self.migrator
            .iter()
            .map(|migration| migration.version)
            .max()
            .unwrap_or_default()
    }

    /// Brings the schema to the newest version, as its owner; returns that version. Doing it again changes nothing.
    ///
    /// # Errors
    ///
    /// When the database cannot be reached, a migration fails, or one that was run has been edited since.
    pub async fn run(&self, owner_url: &SecretString) -> Result<i64, MigrationError> {
        let mut connection = connect(owner_url).await.map_err(MigrationError::Connect)?;
        self.migrator.run(&mut connection).await?;
        Ok(self.newest())
    }

    /// Takes back every migration that is newer than `version`, newest first.
    ///
    /// # Errors
    ///
    /// As [`Migrations::run`].
    pub async fn undo(&self, owner_url: &SecretString, version: i64) -> Result<(), MigrationError> {
        let mut connection = connect(owner_url).await.map_err(MigrationError::Connect)?;
        Ok(self.migrator.undo(&mut connection, version).await?)
    }
}

#[expect(
    clippy::disallowed_methods,
    reason = "migrations run as the schema's owner, who is no tenant"
)]
async fn connect(owner_url: &SecretString) -> Result<PgConnection, DbError> {
    let options: PgConnectOptions = owner_url.expose_secret().parse()?;
    Ok(PgConnection::connect_with(&options).await?)
}
