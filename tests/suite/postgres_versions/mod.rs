//! Every major version of Postgres that Haven runs on: the migrations with rows, the RLS matrix, the snapshot of the catalog and a story through both services.
//!
//! The other suites run on one version: `HAVEN_POSTGRES=18 cargo test` chooses another for all of them.

mod story;

use haven_testkit::{Stack, database::Database, installation::Installation, release, template::TestCluster};

use crate::{packages, rls, schema};

#[tokio::test]
async fn haven_runs_on_postgres_15() {
    haven_runs_on(15).await;
}

#[tokio::test]
async fn haven_runs_on_postgres_16() {
    haven_runs_on(16).await;
}

#[tokio::test]
async fn haven_runs_on_postgres_17() {
    haven_runs_on(17).await;
}

#[tokio::test]
async fn haven_runs_on_postgres_18() {
    haven_runs_on(18).await;
}

/// Calls what pgBackRest calls, as its login.
async fn backup_functions_work(database: &Database) {
    let mut login = database.connect("haven_backup").await.unwrap();
    for called in [
        "SELECT 1 / (SELECT count(*) FROM pg_settings WHERE name = 'data_directory')",
        "SELECT pg_create_restore_point('test')",
        "SELECT pg_switch_wal()",
        "SELECT pg_backup_start('test', true)",
        "SELECT pg_backup_stop(false)",
    ] {
        let answer = sqlx::raw_sql(called).execute(&mut login).await;
        assert!(answer.is_ok(), "{called}: {answer:?}");
    }
}

/// No login may use large objects, which are past every table and policy.
async fn large_objects_are_refused(database: &Database) {
    for login in [
        "identity_app",
        "identity_worker",
        "data_app",
        "data_worker",
        "haven_readonly",
    ] {
        for call in [
            "lo_create(0)",
            "lo_creat(-1)",
            "lo_from_bytea(0, 'x')",
            "lo_import('/etc/hostname')",
        ] {
            let attempt = database
                .run(login, &format!("BEGIN READ WRITE; SELECT {call}"))
                .await;
            let message = format!("{:#}", attempt.expect_err(call));
            assert!(
                message.contains("permission denied"),
                "{login}, {call}: {message}"
            );
        }
    }
}

async fn haven_runs_on(major: u32) {
    let Some(installation) = packages::or_skip(&[release::PACKAGE], Installation::of_major(major)) else {
        return;
    };
    assert_eq!(installation.version.major, major);
    eprintln!("Postgres {}", installation.version);
    let cluster = TestCluster::of(installation.clone()).await.unwrap();
    rls::run_matrix(&cluster, rls::Protection::PrivilegesAndPolicies)
        .await
        .unwrap();
    let template = cluster.database().await.unwrap();
    schema::snapshot::check(&template).await.unwrap();
    schema::migrations::migrate_and_revert(&template, &installation)
        .await
        .unwrap();
    backup_functions_work(&template).await;
    large_objects_are_refused(&template).await;
    drop(template);
    let stack = Stack::builder().on(cluster).start().await.unwrap();
    story::tell(&stack).await;
}
