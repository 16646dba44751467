//! The migrations of a schema.
//!
//! The files, the history table and its checksums are those of sqlx, and so is the meaning of `up` and `down`. sqlx's own
//! runner locks the database for a session and prepares statements under names; behind a pooler in transaction mode the
//! next statement may run in another session. Here each migration is one transaction, which takes the lock, reads the
//! history again, changes the schema and writes the history. All statements use the simple protocol.

use std::collections::BTreeSet;

use secrecy::SecretString;
use sqlx::{
    AssertSqlSafe, Connection, Error, PgConnection, Row,
    migrate::{MigrateError, Migration, MigrationType, Migrator},
    raw_sql,
};
use tokio::time::Instant;

use super::{error::DbError, pool, url::connect_options};

/// The migrations of a schema, embedded in the program when it was built.
#[derive(Debug)]
pub struct Migrations {
    /// The schema.
    pub schema: &'static str,
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
    Migrate(#[from] MigrateError),
    /// The history changed between two migrations of this run.
    #[error("another `migrate` changes the schema at the same time: run this one again when that has ended")]
    Concurrent,
}

impl From<Error> for MigrationError {
    fn from(error: Error) -> Self {
        Self::Migrate(MigrateError::Execute(error))
    }
}

/// The versions of the applied migrations.
type Applied = BTreeSet<i64>;

impl Migrations {
    /// Returns the newest version that this program has a migration for.
    #[must_use]
    pub fn newest(&self) -> i64 {
        self.of(MigrationType::ReversibleUp)
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
        let mut connection = connect(owner_url).await?;
        let applied = self.applied(&mut connection).await?;
        for migration in self.of(MigrationType::ReversibleUp) {
            if !applied.contains(&migration.version) {
                self.apply(migration, &mut connection).await?;
            }
        }
        Ok(self.newest())
    }

    /// Reverts all migrations that are newer than `version`, newest first.
    ///
    /// # Errors
    ///
    /// [`MigrationError`] as in [`Migrations::run`].
    pub async fn undo(&self, owner_url: &SecretString, version: i64) -> Result<(), MigrationError> {
        let mut connection = connect(owner_url).await?;
        let applied = self.applied(&mut connection).await?;
        let mut newer: Vec<&Migration> = self
            .of(MigrationType::ReversibleDown)
            .filter(|migration| migration.version > version && applied.contains(&migration.version))
            .collect();
        newer.reverse();
        for migration in newer {
            self.revert(migration, &mut connection).await?;
        }
        Ok(())
    }

    /// Returns the migrations of one direction, oldest first.
    fn of(&self, direction: MigrationType) -> impl Iterator<Item = &Migration> {
        self.migrator
            .iter()
            .filter(move |migration| migration.migration_type == direction)
    }

    /// Returns the applied migrations. Creates the history when there is none.
    async fn applied(&self, connection: &mut PgConnection) -> Result<Applied, MigrationError> {
        let mut tx = connection.begin().await?;
        let applied = self.lock(&mut tx).await?;
        tx.commit().await?;
        Ok(applied)
    }

    async fn apply(
        &self,
        migration: &Migration,
        connection: &mut PgConnection,
    ) -> Result<(), MigrationError> {
        let began = Instant::now();
        let mut tx = connection.begin().await?;
        let applied = self.lock(&mut tx).await?;
        if applied.contains(&migration.version) {
            // Another run applied the migration while this one waited for the lock.
            return Ok(());
        }
        let mut earlier = self
            .of(MigrationType::ReversibleUp)
            .take_while(|earlier| earlier.version < migration.version);
        if !earlier.all(|earlier| applied.contains(&earlier.version)) {
            return Err(MigrationError::Concurrent);
        }
        execute(migration, &mut tx).await?;
        // The time in nanoseconds, which must be positive.
        let time = i64::try_from(began.elapsed().as_nanos())
            .unwrap_or(i64::MAX)
            .max(1);
        let row = format!(
            "INSERT INTO {}._sqlx_migrations (version, description, success, checksum, execution_time)
             VALUES ({}, '{}', true, '\\x{}', {time})",
            self.schema,
            migration.version,
            migration.description.replace('\'', "''"),
            checksum(migration),
        );
        raw_sql(AssertSqlSafe(row)).execute(&mut *tx).await?;
        Ok(tx.commit().await?)
    }

    async fn revert(
        &self,
        migration: &Migration,
        connection: &mut PgConnection,
    ) -> Result<(), MigrationError> {
        let mut tx = connection.begin().await?;
        let applied = self.lock(&mut tx).await?;
        if !applied.contains(&migration.version) {
            // Another run reverted the migration while this one waited for the lock.
            return Ok(());
        }
        if applied.iter().any(|version| *version > migration.version) {
            return Err(MigrationError::Concurrent);
        }
        execute(migration, &mut tx).await?;
        let row = format!(
            "DELETE FROM {}._sqlx_migrations WHERE version = {}",
            self.schema, migration.version
        );
        raw_sql(AssertSqlSafe(row)).execute(&mut *tx).await?;
        Ok(tx.commit().await?)
    }

    /// Takes the lock of the schema's migrations until the end of the transaction, creates the history when there is none,
    /// and returns the applied migrations, which are checked against those of this program.
    async fn lock(&self, tx: &mut PgConnection) -> Result<Applied, MigrationError> {
        let history = format!("{}._sqlx_migrations", self.schema);
        let lock = format!(
            "SELECT pg_advisory_xact_lock(hashtextextended('{history}', 0));
             CREATE TABLE IF NOT EXISTS {history} (
                 version BIGINT PRIMARY KEY,
                 description TEXT NOT NULL,
                 installed_on TIMESTAMPTZ NOT NULL DEFAULT now(),
                 success BOOLEAN NOT NULL,
                 checksum BYTEA NOT NULL,
                 execution_time BIGINT NOT NULL
             )"
        );
        raw_sql(AssertSqlSafe(lock)).execute(&mut *tx).await?;
        let rows = format!("SELECT version, encode(checksum, 'hex') AS checksum, success FROM {history}");
        let mut applied = Applied::new();
        for row in raw_sql(AssertSqlSafe(rows)).fetch_all(&mut *tx).await? {
            let version: i64 = row.try_get("version")?;
            if !row.try_get("success")? {
                return Err(MigrateError::Dirty(version).into());
            }
            let known = self
                .of(MigrationType::ReversibleUp)
                .find(|known| known.version == version)
                .ok_or(MigrateError::VersionMissing(version))?;
            if row.try_get::<String, _>("checksum")? != checksum(known) {
                return Err(MigrateError::VersionMismatch(version).into());
            }
            applied.insert(version);
        }
        Ok(applied)
    }
}

/// Executes the statements of a migration.
async fn execute(migration: &Migration, tx: &mut PgConnection) -> Result<(), MigrationError> {
    raw_sql(migration.sql.clone())
        .execute(tx)
        .await
        .map_err(|error| MigrateError::ExecuteMigration(error, migration.version))?;
    Ok(())
}

/// Returns the checksum of a migration in hexadecimal digits.
fn checksum(migration: &Migration) -> String {
    migration
        .checksum
        .iter()
        .map(|byte| format!("{byte:02x}"))
        .collect()
}

async fn connect(owner_url: &SecretString) -> Result<PgConnection, MigrationError> {
    let options = connect_options(owner_url).map_err(MigrationError::Connect)?;
    pool::connect(&options).await.map_err(MigrationError::Connect)
}
