//! The migrations of a schema.

use secrecy::{ExposeSecret, SecretString};
use sqlx::{Connection, PgConnection, migrate::Migrator, postgres::PgConnectOptions};

use super::error::DbError;

/// The migrations of a schema, embedded in the program when it was built.
#[derive(Debug)]
pub struct Migrations {
    /// The result of `sqlx::migrate!`.
    pub migrator: Migrator,
}

/// The reason why a migration failed. Migrations contain no person's data, so messages of Postgres are shown in full.
#[derive(Debug, thiserror::Error)]
pub enum MigrationError {
    /// The database cannot be reached.
    #[error("cannot connect as the schema's owner: {0}")]
    Connect(DbError),
    /// A migration failed, or an applied one differs from the one in this program.
    #[error(transparent)]
    Migrate(#[from] sqlx::migrate::MigrateError),
}

impl Migrations {
    /// Returns the newest version that this program has a migration for.
    #[must_use]
    pub fn newest(&self) -> i64 {
        self.migrator
            .iter()
            .map(|migration| migration.version)
            .max()
            .unwrap_or_default()
    }

    /// Migrates the schema to the newest version, as the schema's owner, and returns that version. A repeated run
    /// changes nothing.
    ///
    /// # Errors
    ///
    /// [`MigrationError`] when the database cannot be reached, a migration fails, or an applied one was edited since.
    pub async fn run(&self, owner_url: &SecretString) -> Result<i64, MigrationError> {
        let mut connection = connect(owner_url).await.map_err(MigrationError::Connect)?;
        self.migrator.run(&mut connection).await?;
        Ok(self.newest())
    }

    /// Reverts all migrations that are newer than `version`, newest first.
    ///
    /// # Errors
    ///
    /// [`MigrationError`] as in [`Migrations::run`].
    pub async fn undo(&self, owner_url: &SecretString, version: i64) -> Result<(), MigrationError> {
        let mut connection = connect(owner_url).await.map_err(MigrationError::Connect)?;
        Ok(self.migrator.undo(&mut connection, version).await?)
    }
}

#[expect(
    clippy::disallowed_methods,
    reason = "migrations run as the schema's owner, not as a tenant"
)]
async fn connect(owner_url: &SecretString) -> Result<PgConnection, DbError> {
    let options: PgConnectOptions = owner_url.expose_secret().parse()?;
    Ok(PgConnection::connect_with(&options).await?)
}
