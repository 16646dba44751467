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

use super::{
    compatibility::{self, SchemaVersion},
    error::DbError,
    pool,
    url::connect_options,
};

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
    /// The schema has newer migrations, and does not allow this program. The text says what to do.
    #[error("{0}")]
    Incompatible(String),
    /// The schema has newer migrations, which this program cannot revert.
    #[error(
        "schema {schema} has version {version}, and this program has migrations up to {program}: revert the newer ones \
         with the program that has them"
    )]
    Irreversible {
        /// The schema.
        schema: &'static str,
        /// Its newest migration.
        version: i64,
        /// The newest migration of this program.
        program: i64,
    },
    /// The schema has newer migrations, and lacks one of this program.
    #[error(
        "schema {schema} has version {version} without migration {missing} of this program: their histories differ, so \
         run `migrate` of the program that has both"
    )]
    Diverged {
        /// The schema.
        schema: &'static str,
        /// Its newest migration.
        version: i64,
        /// The migration that it lacks.
        missing: i64,
    },
}

impl From<Error> for MigrationError {
    fn from(error: Error) -> Self {
        Self::Migrate(MigrateError::Execute(error))
    }
}

/// The versions of the applied migrations. Those that are newer than this program are not known to it.
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

    /// Migrates the schema to the newest version, as the schema's owner, and returns its version. A repeated run
    /// changes nothing, and so does one on a newer schema that allows this program: the start of an older version, while
    /// replicas of two versions run, must not fail there.
    ///
    /// # Errors
    ///
    /// [`MigrationError`] when the database cannot be reached, a migration fails, an applied one was edited since, or the
    /// schema is newer and does not allow this program.
    pub async fn run(&self, owner_url: &SecretString) -> Result<i64, MigrationError> {
        let mut connection = connect(owner_url).await?;
        let applied = self.applied(&mut connection).await?;
        if let Some(version) = self.newer(&applied) {
            return self.allowed_by(version, &applied, &mut connection).await;
        }
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
    /// [`MigrationError`] as in [`Migrations::run`], and when the schema has migrations to revert that this program does
    /// not have.
    pub async fn undo(&self, owner_url: &SecretString, version: i64) -> Result<(), MigrationError> {
        let mut connection = connect(owner_url).await?;
        let applied = self.applied(&mut connection).await?;
        if let Some(newest) = self.newer(&applied).filter(|newest| *newest > version) {
            return Err(MigrationError::Irreversible {
                schema: self.schema,
                version: newest,
                program: self.newest(),
            });
        }
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

    /// Returns the newest applied migration if this program does not know it.
    fn newer(&self, applied: &Applied) -> Option<i64> {
        applied.last().copied().filter(|version| *version > self.newest())
    }

    /// Checks that a newer schema allows this program, and returns its version.
    async fn allowed_by(
        &self,
        version: i64,
        applied: &Applied,
        connection: &mut PgConnection,
    ) -> Result<i64, MigrationError> {
        let schema = self.schema;
        let mut known = self.of(MigrationType::ReversibleUp);
        if let Some(missing) = known.find(|known| !applied.contains(&known.version)) {
            let missing = missing.version;
            return Err(MigrationError::Diverged {
                schema,
                version,
                missing,
            });
        }
        let row = raw_sql(AssertSqlSafe(compatibility::oldest(schema)))
            .fetch_one(connection)
            .await?;
        let oldest = row.try_get("oldest")?;
        SchemaVersion {
            schema,
            version,
            oldest,
        }
        .check(self.newest())
        .map_err(|incompatible| MigrationError::Incompatible(incompatible.to_string()))?;
        Ok(version)
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
            "SELECT pg_advisory_xact_lock({});
             CREATE TABLE IF NOT EXISTS {history} (
                 version BIGINT PRIMARY KEY,
                 description TEXT NOT NULL,
                 installed_on TIMESTAMPTZ NOT NULL DEFAULT now(),
                 success BOOLEAN NOT NULL,
                 checksum BYTEA NOT NULL,
                 execution_time BIGINT NOT NULL
             )",
            compatibility::migration_lock(self.schema)
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
                .find(|known| known.version == version);
            let Some(known) = known else {
                if version > self.newest() {
                    applied.insert(version);
                    continue;
                }
                return Err(MigrateError::VersionMissing(version).into());
            };
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
