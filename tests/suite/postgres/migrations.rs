//! Migrations under the settings of production, and what `roles.sql` does after them.

use std::{fs, process::Command};

use haven_testkit::{binaries::Binaries, database::Database, template::TestCluster, workspace};
use sqlx::Connection;

use super::installation;

/// Runs `migrate` of both services with `arguments`, as in production.
fn migrate(binaries: &Binaries, database: &Database, arguments: &[&str]) {
    for service in ["data", "identity"] {
        let mut command = Command::new(binaries.of(service));
        command.arg("migrate").args(arguments).env_clear();
        command.env(
            "MIGRATION_DATABASE_URL",
            database.url(&format!("{service}_owner")),
        );
        let output = command.output().unwrap();
        assert!(output.status.success(), "{service} {arguments:?}: {output:?}");
    }
}

/// Returns what the audit log records of the services' writes.
async fn audited(database: &Database) -> Vec<String> {
    let mut superuser = database.connect("postgres").await.unwrap();
    let grants = "SELECT concat_ws(' ', privilege_type, table_schema, table_name) FROM (
            SELECT privilege_type, table_schema, table_name FROM information_schema.role_table_grants
            WHERE grantee = 'haven_audit'
            UNION SELECT privilege_type, table_schema, table_name || '.' || column_name
            FROM information_schema.role_column_grants WHERE grantee = 'haven_audit') AS g ORDER BY 1";
    let grants = sqlx::query_scalar(grants)
        .fetch_all(&mut superuser)
        .await
        .unwrap();
    superuser.close().await.unwrap();
    grants
}

#[tokio::test]
async fn migrations_go_down_and_up_and_the_roles_are_set_again() {
    let Some(installation) = installation() else {
        return;
    };
    let cluster = TestCluster::production(installation).await.unwrap();
    let database = cluster.database().await.unwrap();
    let binaries = Binaries::build().unwrap();
    let before = audited(&database).await;
    assert!(
        before.contains(&"UPDATE identity users.password_hash".to_owned()),
        "{before:?}"
    );
    migrate(&binaries, &database, &["--undo-to", "0"]);
    assert_eq!(audited(&database).await, Vec::<String>::new());
    migrate(&binaries, &database, &[]);
    // The tables are new: their audit begins when the file is run again.
    assert_eq!(audited(&database).await, Vec::<String>::new());
    let roles = fs::read_to_string(workspace::root().join("deploy/postgres/roles.sql")).unwrap();
    for _ in 0..2 {
        database.run("postgres", &roles).await.unwrap();
        assert_eq!(audited(&database).await, before);
    }
}
