//! Everywhere that a canary could have come to.

use std::fs;

use haven_testkit::{Stack, template::TestCluster};
use sqlx::{AssertSqlSafe, Connection, PgConnection};

use super::{canary::Haystack, fixture::World};
use crate::metrics::Metrics;

/// What was answered: statuses, details and headers.
pub(super) const ANSWERS: &str = "the answers";
/// Postgres's own log.
pub(super) const POSTGRES_LOG: &str = "Postgres's log";
/// What Postgres keeps of statements.
pub(super) const STATEMENTS: &str = "the statements";
/// The log of each service.
pub(super) const LOGS: [&str; 2] = ["identity's log", "data's log"];
/// The metrics of both services.
pub(super) const METRICS: &str = "the metrics";

/// A place, and everything in it.
pub(super) struct Location {
    pub(super) name: String,
    pub(super) content: Haystack,
}

/// All of them. Both services have to run.
pub(super) async fn all(world: &World) -> Vec<Location> {
    let mut places = Vec::new();
    let mut add = |name: &str, text: String| {
        places.push(Location {
            name: name.to_owned(),
            content: Haystack::new(text),
        });
    };
    let stack = &world.stack;
    let mut metrics = world.metrics.clone();
    for (service, log) in [&stack.identity, &stack.data].into_iter().zip(LOGS) {
        add(log, service.output().unwrap());
        metrics += &Metrics::read(service.listeners.metrics).await.page;
    }
    add(METRICS, metrics);
    add(ANSWERS, world.answers.lock().unwrap().clone());
    let (log, before) = &world.postgres_log;
    let log = fs::read(log).unwrap();
    add(
        POSTGRES_LOG,
        String::from_utf8_lossy(&log[*before..]).into_owned(),
    );
    add(STATEMENTS, statements().await);
    for (table, rows) in tables(stack).await {
        add(&table, rows);
    }
    places
}

/// The statistics are the cluster's, whichever database they are read in.
async fn statements() -> String {
    let maintenance = TestCluster::shared().await.unwrap().maintenance();
    let mut superuser = maintenance.connect("postgres").await.unwrap();
    text(
        &mut superuser,
        "SELECT coalesce(string_agg(query, E'\\n'), '') FROM pg_stat_statements",
    )
    .await
}

/// Every table of the database that is not Postgres's own, with all its rows.
async fn tables(stack: &Stack) -> Vec<(String, String)> {
    let mut superuser = stack.database.connect("postgres").await.unwrap();
    let names: Vec<String> = sqlx::query_scalar(
        "SELECT format('%I.%I', schemaname, tablename) FROM pg_tables
         WHERE schemaname NOT IN ('pg_catalog', 'information_schema')",
    )
    .fetch_all(&mut superuser)
    .await
    .unwrap();
    let mut tables = Vec::new();
    for name in names {
        let rows = format!("SELECT coalesce(string_agg(t::text, E'\\n'), '') FROM {name} AS t");
        tables.push((name, text(&mut superuser, &rows).await));
    }
    superuser.close().await.unwrap();
    tables
}

async fn text(connection: &mut PgConnection, sql: &str) -> String {
    sqlx::query_scalar(AssertSqlSafe(sql))
        .fetch_one(connection)
        .await
        .unwrap()
}
