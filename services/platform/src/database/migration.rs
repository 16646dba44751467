//! The migrations of a schema.
//!
//! The files, the history table and its checksums are those of sqlx, and so is the meaning of `up` and `down`. sqlx's own
//! runner locks the database for a session and prepares statements under names; behind a pooler in transaction mode the
//! next statement may run in another session. Here each migration is one transaction, which takes the lock, reads the
//! history again, changes the schema and writes the history. All statements use the simple protocol.
//!
//! A migration that begins with `-- no-transaction` has one statement, such as `CREATE INDEX CONCURRENTLY`, which runs on a second
//! connection while the transaction on the first holds the lock: see [`Migrations::execute`].

use std::{collections::BTreeSet, time::Duration};

use secrecy::SecretString;
use sqlx::{
    AssertSqlSafe, Connection, PgConnection, Row,
    migrate::{MigrateError, Migration, MigrationType, Migrator},
    raw_sql,
};
use tokio::time::{Instant, sleep};

use super::{
    compatibility::{self, SchemaVersion},
    migration_error::{LOCK_ATTEMPTS, LOCK_PAUSE, LOCK_TIMEOUT, MigrationError},
    pool,
    url::connect_options,
};

/// The interval at which a run asks for the lock of the schema's migrations.
const TURN: Duration = Duration::from_millis(200);

/// The migrations of a schema, embedded in the program when it was built.
#[derive(Debug)]
pub struct Migrations {
    /// The schema.
    pub schema: &'static str,
    /// The result of `sqlx::migrate!`.
    pub migrator: Migrator,
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
                self.change(migration, &mut connection, owner_url).await?;
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
            self.change(migration, &mut connection, owner_url).await?;
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
        loop {
            let mut tx = connection.begin().await?;
            if let Some(applied) = self.lock(&mut tx).await? {
                tx.commit().await?;
                return Ok(applied);
            }
            tx.rollback().await?;
            sleep(TURN).await;
        }
    }

    /// Applies or reverts a migration, and tries again while it does not get its locks.
    async fn change(
        &self,
        migration: &Migration,
        connection: &mut PgConnection,
        owner_url: &SecretString,
    ) -> Result<(), MigrationError> {
        let mut attempts = 0;
        loop {
            let changed = match migration.migration_type {
                MigrationType::ReversibleDown => self.revert(migration, connection, owner_url).await,
                _ => self.apply(migration, connection, owner_url).await,
            };
            match changed {
                Err(MigrationError::Busy) => sleep(TURN).await,
                Err(error) if error.is_lock_timeout() => {
                    let version = migration.version;
                    attempts += 1;
                    if attempts == LOCK_ATTEMPTS {
                        return Err(MigrationError::Locked { version });
                    }
                    tracing::warn!(
                        version,
                        "the migration waited too long for a lock: it lets others go first, and tries again"
                    );
                    sleep(LOCK_PAUSE).await;
                }
                changed => return changed,
            }
        }
    }

    async fn apply(
        &self,
        migration: &Migration,
        connection: &mut PgConnection,
        owner_url: &SecretString,
    ) -> Result<(), MigrationError> {
        let began = Instant::now();
        let mut tx = connection.begin().await?;
        let Some(applied) = self.lock(&mut tx).await? else {
            tx.rollback().await?;
            return Err(MigrationError::Busy);
        };
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
        self.execute(migration, &mut tx, owner_url).await?;
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
        owner_url: &SecretString,
    ) -> Result<(), MigrationError> {
        let mut tx = connection.begin().await?;
        let Some(applied) = self.lock(&mut tx).await? else {
            tx.rollback().await?;
            return Err(MigrationError::Busy);
        };
        if !applied.contains(&migration.version) {
            // Another run reverted the migration while this one waited for the lock.
            return Ok(());
        }
        if applied.iter().any(|version| *version > migration.version) {
            return Err(MigrationError::Concurrent);
        }
        self.execute(migration, &mut tx, owner_url).await?;
        let row = format!(
            "DELETE FROM {}._sqlx_migrations WHERE version = {}",
            self.schema, migration.version
        );
        raw_sql(AssertSqlSafe(row)).execute(&mut *tx).await?;
        Ok(tx.commit().await?)
    }

    /// Executes the statements of a migration in `tx`; or its one statement outside of a transaction, on a connection of its own,
    /// while `tx` keeps the lock of the schema's migrations.
    ///
    /// `CREATE INDEX CONCURRENTLY` waits for every transaction with an older snapshot. `tx` has none while no statement of it
    /// runs, and neither has another run that waits for its turn: see [`Migrations::lock`].
    async fn execute(
        &self,
        migration: &Migration,
        tx: &mut PgConnection,
        owner_url: &SecretString,
    ) -> Result<(), MigrationError> {
        if !migration.no_tx {
            let timeout = format!("SET LOCAL lock_timeout = {}", LOCK_TIMEOUT.as_millis());
            raw_sql(AssertSqlSafe(timeout)).execute(&mut *tx).await?;
            run(migration, tx).await?;
            raw_sql("SET LOCAL lock_timeout = 0").execute(tx).await?;
            return Ok(());
        }
        // The server's limits are for requests. A build waits for every older transaction, and `tx` waits for the build.
        raw_sql("SET LOCAL idle_in_transaction_session_timeout = 0")
            .execute(&mut *tx)
            .await?;
        self.check_indexes(tx).await?;
        let mut connection = connect(owner_url).await?;
        raw_sql("SET lock_timeout = 0").execute(&mut connection).await?;
        let built = run(migration, &mut connection).await;
        // An invalid index, which a failed build leaves, comes before the reason of the failure: it has to go first.
        self.check_indexes(tx).await?;
        built
    }

    /// Checks that no index of the schema is invalid, as an interrupted `CREATE INDEX CONCURRENTLY` leaves it.
    /// `IF NOT EXISTS` is content with such an index.
    async fn check_indexes(&self, tx: &mut PgConnection) -> Result<(), MigrationError> {
        let schema = self.schema;
        let invalid = format!(
            "SELECT format('%I.%I', n.nspname, c.relname) AS index
             FROM pg_catalog.pg_index AS i JOIN pg_catalog.pg_class AS c ON c.oid = i.indexrelid
                 JOIN pg_catalog.pg_namespace AS n ON n.oid = c.relnamespace
             WHERE n.nspname = '{schema}' AND NOT i.indisvalid ORDER BY 1 LIMIT 1"
        );
        match raw_sql(AssertSqlSafe(invalid)).fetch_optional(tx).await? {
            Some(row) => Err(MigrationError::InvalidIndex {
                schema,
                index: row.try_get("index")?,
            }),
            None => Ok(()),
        }
    }

    /// Takes the lock of the schema's migrations until the end of the transaction, creates the history when there is none,
    /// and returns the applied migrations, which are checked against those of this program. `None` when another run has the lock:
    /// the caller ends the transaction, which is a connection of a pooler, and asks again.
    async fn lock(&self, tx: &mut PgConnection) -> Result<Option<Applied>, MigrationError> {
        let history = format!("{}._sqlx_migrations", self.schema);
        let key = compatibility::migration_lock(self.schema);
        // A statement that waits for the lock would have a snapshot, and a concurrent build of an index, which the holder of the
        // lock runs, would wait for the end of that statement: for ever.
        let turn = format!("SELECT pg_try_advisory_xact_lock({key}) AS is_free");
        let row = raw_sql(AssertSqlSafe(turn)).fetch_one(&mut *tx).await?;
        if !row.try_get::<bool, _>("is_free")? {
            return Ok(None);
        }
        let lock = format!(
            "CREATE TABLE IF NOT EXISTS {history} (
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
        Ok(Some(applied))
    }
}

/// Executes the statements of a migration on `connection`.
async fn run(migration: &Migration, connection: &mut PgConnection) -> Result<(), MigrationError> {
    raw_sql(migration.sql.clone())
        .execute(connection)
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
