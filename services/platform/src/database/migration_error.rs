//! The reasons why a migration fails, and how long it waits for locks.

use std::time::Duration;

use sqlx::{Error, migrate::MigrateError};

use super::error::DbError;

/// The maximum time for which a statement of a migration waits for a lock. While it waits, every later statement on the
/// table waits behind it.
pub(super) const LOCK_TIMEOUT: Duration = Duration::from_secs(2);

/// The number of times that a migration is tried when it does not get its locks.
pub(super) const LOCK_ATTEMPTS: u32 = 30;

/// The pause between two tries, in which what waited behind the lock goes on.
pub(super) const LOCK_PAUSE: Duration = Duration::from_secs(2);

/// SQLSTATE `lock_not_available`.
const LOCK_NOT_AVAILABLE: &str = "55P03";

/// The SQLSTATE of a deadlock: another transaction has one of the tables, and waits for one that the migration has.
const DEADLOCK: &str = "40P01";

/// The reason why a migration failed. Migrations contain no person's data, so messages of Postgres are shown in full.
#[derive(Debug, thiserror::Error)]
pub enum MigrationError {
    /// The database cannot be reached.
    #[error("cannot connect as the schema's owner: {0}")]
    Connect(DbError),
    /// A migration failed, or an applied one differs from the one in this program.
    #[error(transparent)]
    Migrate(#[from] MigrateError),
    /// A build of an index did not end, or has not ended yet.
    #[error(
        "index {index} is invalid, because its build was interrupted: no query uses it, and each write still pays for it. Unless \
         another session builds it now (then pg_stat_progress_create_index has a row), run `DROP INDEX CONCURRENTLY {index}` as \
         {schema}_owner, and then `migrate` again"
    )]
    InvalidIndex {
        /// The schema.
        schema: &'static str,
        /// The index, with its schema.
        index: String,
    },
    /// Other sessions held locks on the tables of a migration at each try.
    #[error(
        "migration {version} did not get a lock on a table within {} s in {} tries, and changed nothing: a \
         transaction is open on it. pg_stat_activity shows it with state 'idle in transaction' or an old xact_start; end it, \
         and run `migrate` again",
        LOCK_TIMEOUT.as_secs(),
        LOCK_ATTEMPTS
    )]
    Locked {
        /// The migration.
        version: i64,
    },
    /// Another run has the lock of the schema's migrations. This run waits for it.
    #[error("another `migrate` has its turn")]
    Busy,
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

impl MigrationError {
    /// Returns whether a statement of a migration waited longer than [`LOCK_TIMEOUT`] for a lock.
    pub(super) fn is_lock_timeout(&self) -> bool {
        let Self::Migrate(MigrateError::ExecuteMigration(Error::Database(error), _)) = self else {
            return false;
        };
        error
            .code()
            .is_some_and(|code| [LOCK_NOT_AVAILABLE, DEADLOCK].contains(&&*code))
    }
}
