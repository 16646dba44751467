//! Clusters and their databases.

use anyhow::Result;
use haven_testkit::{
    secrets::{ADMIN, LOGINS, SUPERUSER},
    template::TestCluster,
};
use sqlx::{AssertSqlSafe, PgConnection};

/// Returns the single text that `sql` selects.
async fn value(connection: &mut PgConnection, sql: &'static str) -> Result<String> {
    Ok(sqlx::query_scalar(AssertSqlSafe(sql))
        .fetch_one(connection)
        .await?)
}

#[tokio::test]
async fn copies_of_the_template_are_separate_and_are_dropped() -> Result<()> {
    let cluster = TestCluster::shared().await?;
    let (one, two) = (cluster.database().await?, cluster.database().await?);
    one.run(ADMIN, "CREATE SCHEMA only_here").await?;
    let seen = "SELECT count(*)::text FROM pg_namespace WHERE nspname = 'only_here'";
    assert_eq!(value(&mut one.connect(ADMIN).await?, seen).await?, "1");
    assert_eq!(value(&mut two.connect(ADMIN).await?, seen).await?, "0");

    let (name, mut admin) = (one.name.clone(), two.connect(ADMIN).await?);
    drop(one);
    let names = "SELECT string_agg(datname, ',') FROM pg_database";
    assert!(!value(&mut admin, names).await?.contains(&name));
    Ok(())
}

#[tokio::test]
async fn every_connection_is_encrypted_and_needs_a_password() -> Result<()> {
    let database = TestCluster::shared().await?.database().await?;
    let mut superuser = database.connect(SUPERUSER).await?;
    let encrypted = "SELECT bool_and(ssl)::text FROM pg_stat_ssl JOIN pg_stat_activity USING (pid) WHERE usename IS NOT NULL AND backend_type = 'client backend'";
    assert_eq!(value(&mut superuser, encrypted).await?, "true");
    let rules = "SELECT string_agg(DISTINCT type || ' ' || auth_method, ', ') FROM pg_hba_file_rules";
    assert_eq!(value(&mut superuser, rules).await?, "hostssl scram-sha-256");
    let listens =
        "SELECT current_setting('listen_addresses') || ' ' || current_setting('unix_socket_directories')";
    assert_eq!(value(&mut superuser, listens).await?, "127.0.0.1 ");
    Ok(())
}

#[tokio::test]
async fn no_password_is_kept_in_query_statistics() -> Result<()> {
    let cluster = TestCluster::shared().await?;
    let mut superuser = cluster.maintenance().connect(SUPERUSER).await?;
    for login in LOGINS {
        let seen = "SELECT count(*) FROM pg_stat_statements WHERE strpos(query, $1) > 0";
        let seen: i64 = sqlx::query_scalar(seen)
            .bind(cluster.secrets.password(login))
            .fetch_one(&mut superuser)
            .await?;
        assert_eq!(seen, 0, "{login}");
    }
    Ok(())
}

#[tokio::test]
async fn a_killed_server_recovers_its_data() -> Result<()> {
    let mut own = TestCluster::own(false).await?;
    let database = own.database().await?;
    database
        .run(ADMIN, "CREATE TABLE public.kept AS SELECT 'kept' AS what")
        .await?;
    // Open sessions keep the killed server's shared memory for a moment.
    let _sessions = (
        database.connect("data_app").await?,
        database.connect("data_worker").await?,
    );
    own.cluster.kill();
    own.cluster.resume().await?;
    assert_eq!(
        value(
            &mut database.connect(ADMIN).await?,
            "SELECT what FROM public.kept"
        )
        .await?,
        "kept"
    );
    Ok(())
}
