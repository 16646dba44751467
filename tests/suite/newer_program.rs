//! A newer program than this checkout's: the migrations with which it upgrades a schema while this one serves.

use std::fs;

use haven_testkit::{database::Database, workspace};
use sqlx::migrate::Migrator;
use tempfile::TempDir;

/// The newer program's migration that this one can work with.
pub(crate) const ADDED: i64 = 99_990_101_000_100;
/// The newer program's migration that this one cannot work with.
pub(crate) const RENAMED: i64 = 99_990_101_000_200;

/// A newer program, of which only the migrations exist.
pub(crate) struct NewerProgram {
    schema: &'static str,
    migrations: TempDir,
}

impl NewerProgram {
    /// Creates the migrations: those of this checkout, and two more.
    pub(crate) fn new(schema: &'static str) -> Self {
        let migrations = tempfile::tempdir().unwrap();
        for file in workspace::files(&workspace::migrations().join(schema)).unwrap() {
            fs::copy(&file, migrations.path().join(file.file_name().unwrap())).unwrap();
        }
        let oldest = |version: &str| {
            format!(
                "CREATE OR REPLACE FUNCTION {schema}.oldest_binary() RETURNS bigint LANGUAGE sql IMMUTABLE PARALLEL SAFE
                     SET search_path = '' RETURN {version};"
            )
        };
        let newest = newest(schema);
        let program = Self { schema, migrations };
        program.write(
            ADDED,
            &format!("ALTER TABLE {schema}.users ADD COLUMN mood text;"),
            &format!("ALTER TABLE {schema}.users DROP COLUMN mood;"),
        );
        program.write(
            RENAMED,
            &format!(
                "ALTER TABLE {schema}.users RENAME COLUMN created_at TO began_at; {}",
                oldest(&RENAMED.to_string())
            ),
            &format!(
                "ALTER TABLE {schema}.users RENAME COLUMN began_at TO created_at; {}",
                oldest(&newest)
            ),
        );
        program
    }

    fn write(&self, version: i64, up: &str, down: &str) {
        for (direction, sql) in [("up", up), ("down", down)] {
            let file = self
                .migrations
                .path()
                .join(format!("{version}_test.{direction}.sql"));
            let sql = format!("SET LOCAL row_security = off; {sql} SET LOCAL row_security = on;");
            fs::write(file, sql).unwrap();
        }
    }

    async fn migrator(&self) -> Migrator {
        let mut migrator = Migrator::new(self.migrations.path()).await.unwrap();
        migrator.dangerous_set_table_name(format!("{}._sqlx_migrations", self.schema));
        migrator
    }

    /// Migrates the schema up to `version`.
    pub(crate) async fn migrate(&self, database: &Database, version: i64) {
        let owner = format!("{}_owner", self.schema);
        let mut owner = database.connect(&owner).await.unwrap();
        self.migrator().await.run_to(version, &mut owner).await.unwrap();
    }

    /// Reverts the migrations that are newer than `version`.
    pub(crate) async fn undo(&self, database: &Database, version: i64) {
        let owner = format!("{}_owner", self.schema);
        let mut owner = database.connect(&owner).await.unwrap();
        self.migrator().await.undo(&mut owner, version).await.unwrap();
    }
}

/// Returns the version of the newest migration of this checkout.
pub(crate) fn newest(schema: &str) -> String {
    let files = workspace::files(&workspace::migrations().join(schema)).unwrap();
    let names = files.iter().filter_map(|file| file.file_name()?.to_str());
    let newest = names.max().unwrap();
    newest.split('_').next().unwrap().to_owned()
}
