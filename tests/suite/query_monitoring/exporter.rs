//! A real postgres_exporter, logged in as `haven_monitor`.

use std::{fs, os::unix::fs::PermissionsExt};

use haven_testkit::{installation::Installation, port::Port, process::Process, queries, workspace};

use tokio::net::TcpStream;

use super::{CALLS, calls, start};
use crate::{
    eventually::eventually,
    leaks::canary::{Flock, Haystack},
    metrics::Metrics,
    packages,
};

const PACKAGE: &str = "prometheus-postgres-exporter";

#[tokio::test]
async fn the_exporter_of_prometheus_works_as_haven_monitor() {
    let Some(package) = packages::require(&[PACKAGE]) else {
        return;
    };
    let stack = start().await;
    let flock = Flock::default();
    calls(&stack, &flock).await;

    let directory = tempfile::tempdir().unwrap();
    // The exporter may run as another user.
    fs::set_permissions(directory.path(), fs::Permissions::from_mode(0o755)).unwrap();
    let file = |name: &str, content: &[u8]| {
        let path = directory.path().join(name);
        fs::write(&path, content).unwrap();
        fs::set_permissions(&path, fs::Permissions::from_mode(0o644)).unwrap();
        path
    };
    let password = stack
        .database
        .libpq(queries::LOGIN)
        .into_iter()
        .find_map(|(name, value)| (name == "PGPASSWORD").then_some(value));
    let password = password.unwrap();
    let password_file = file("password", password.as_bytes());
    let authority = file("ca.crt", &fs::read(&stack.database.authority).unwrap());
    let extension = fs::read(workspace::root().join("deploy/postgres/exporter-queries.yaml")).unwrap();
    let extension = file("exporter-queries.yaml", &extension);

    let port = Port::reserve().unwrap();
    let mut command = package.command("usr/bin/prometheus-postgres-exporter").unwrap();
    command
        .env("DATA_SOURCE_USER", queries::LOGIN)
        .env("DATA_SOURCE_PASS_FILE", password_file)
        .env(
            "DATA_SOURCE_URI",
            format!(
                "127.0.0.1:{}/{}?sslmode=verify-full&sslrootcert={}",
                stack.database.port,
                stack.database.name,
                authority.display()
            ),
        )
        .arg(format!("--web.listen-address=127.0.0.1:{}", port.number()))
        .arg(format!("--extend.query-path={}", extension.display()));
    if Installation::require(|_| ()).unwrap().version.major >= 17 {
        // The columns that it reads are gone since Postgres 17.
        command.arg("--no-collector.bgwriter");
    }
    let log = directory.path().join("exporter.log");
    let mut exporter = Process::start("the exporter", command, &log).unwrap();
    eventually("the exporter listens", async || {
        assert!(exporter.ended().is_none(), "{}", exporter.failure());
        TcpStream::connect(("127.0.0.1", port.number())).await.is_ok()
    })
    .await;

    let metrics = Metrics::read(port.number()).await;
    assert_eq!(metrics.sum("pg_up", &[]), Some(1.0));
    assert_eq!(metrics.sum("pg_exporter_last_scrape_error", &[]), Some(0.0));
    let database = stack.database.name.as_str();
    assert!(metrics.sum("pg_database_size_bytes", &[("datname", database)]) > Some(1e6));
    assert!(metrics.sum("pg_stat_database_xact_commit", &[("datname", database)]) > Some(0.0));
    assert!(metrics.sum("pg_locks_count", &[("datname", database)]).is_some());
    for (name, count) in CALLS {
        let labels = [("statement", name)];
        assert_eq!(
            metrics.sum("haven_statement_calls_total", &labels),
            Some(count as f64),
            "{name}"
        );
        assert!(
            metrics.sum("haven_statement_seconds_total", &labels) > Some(0.0),
            "{name}"
        );
    }
    // A session reports what it did with tables about a second later.
    eventually("the index scans are counted", async || {
        let metrics = Metrics::read(port.number()).await;
        let messages = [("table_name", "data.conversations")];
        metrics.sum("haven_table_index_scans_total", &messages) > Some(0.0)
    })
    .await;

    let log = fs::read_to_string(&log).unwrap();
    let errors: Vec<_> = log.lines().filter(|line| !line.contains("level=info")).collect();
    assert!(errors.is_empty(), "{errors:#?}");
    let shown = Haystack::new(metrics.page + &log);
    let password = flock.given(
        "the password of the login",
        crate::leaks::canary::Allowed::Nowhere,
        &password,
    );
    for canary in flock.all().iter().chain([&password]) {
        assert_eq!(canary.found(&shown), None, "{}", canary.what);
    }
}
