//! The history of migrations: `migrate` refuses a schema that other migrations made.

use std::process::{Command, Output};

use haven_testkit::{binaries::Binaries, database::Database, template::TestCluster};

use crate::superuser_sql::execute;

/// Runs `data migrate`, with further arguments.
fn migrate(database: &Database, arguments: &[&str]) -> Output {
    let mut command = Command::new(Binaries::build().unwrap().of("data"));
    command.arg("migrate").args(arguments).env_clear();
    command.env("MIGRATION_DATABASE_URL", database.url("data_owner"));
    command.output().unwrap()
}

#[tokio::test]
async fn a_history_that_this_program_does_not_know_is_refused() {
    for (change, message) in [
        (
            "UPDATE data._sqlx_migrations SET checksum = 'edited' WHERE version = 20261122000300",
            "migration 20261122000300 was previously applied but has been modified",
        ),
        (
            "INSERT INTO data._sqlx_migrations (version, description, success, checksum, execution_time)
             VALUES (20261122000350, 'other', true, '', 1)",
            "migration 20261122000350 was previously applied but is missing in the resolved migrations",
        ),
        (
            "UPDATE data._sqlx_migrations SET success = false WHERE version = 20261122000300",
            "migration 20261122000300 is partially applied",
        ),
    ] {
        let database = TestCluster::shared().await.unwrap().database().await.unwrap();
        assert!(migrate(&database, &[]).status.success());
        execute(&database, change).await;
        for arguments in [&[][..], &["--undo-to", "0"]] {
            let output = migrate(&database, arguments);
            let error = String::from_utf8(output.stderr).unwrap();
            assert_eq!(output.status.code(), Some(1), "{arguments:?}: {error}");
            assert!(error.contains(message), "{arguments:?}: {error}");
        }
    }
}
