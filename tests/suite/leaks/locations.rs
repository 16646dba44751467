//! The locations that are searched for canaries.

use std::fs;

use haven_testkit::Stack;
use sqlx::{AssertSqlSafe, Connection, PgConnection};

use super::{canary::Haystack, fixture::Fixture};
use crate::metrics::Metrics;

/// The answers to all calls: statuses, details and headers.
pub(super) const ANSWERS: &str = "the answers";
/// The log that Postgres itself writes.
pub(super) const POSTGRES_LOG: &str = "Postgres's log";
/// The statement texts in `pg_stat_statements`.
pub(super) const STATEMENTS: &str = "the statements";
/// The log of each service.
pub(super) const LOGS: [&str; 2] = ["identity's log", "data's log"];
/// The metrics pages of both services.
pub(super) const METRICS: &str = "the metrics";

/// A location, and its whole content.
pub(super) struct Location {
    pub(super) name: String,
    pub(super) content: Haystack,
}

/// Reads all locations. Both services have to run.
pub(super) async fn all(fixture: &Fixture) -> Vec<Location> {
    let mut locations = Vec::new();
    let mut add = |name: &str, text: String| {
        locations.push(Location {
            name: name.to_owned(),
            content: Haystack::new(text),
        });
    };
    let stack = &fixture.stack;
    let mut metrics = fixture.metrics.clone();
    for (service, log) in [&stack.identity, &stack.data].into_iter().zip(LOGS) {
        add(log, service.output().unwrap());
        metrics += &Metrics::read(service.listeners.metrics).await.page;
    }
    add(METRICS, metrics);
    add(ANSWERS, fixture.answers.lock().unwrap().clone());
    let (log, before) = &fixture.postgres_log;
    let log = fs::read(log).unwrap();
    add(
        POSTGRES_LOG,
        String::from_utf8_lossy(&log[*before..]).into_owned(),
    );
    add(STATEMENTS, statements(fixture).await);
    for (table, rows) in tables(stack).await {
        add(&table, rows);
    }
    locations
}

/// Reads the statement texts. They are the whole cluster's, in every database.
async fn statements(fixture: &Fixture) -> String {
    let mut superuser = fixture.maintenance.connect("postgres").await.unwrap();
    text(
        &mut superuser,
        "SELECT coalesce(string_agg(query, E'\\n'), '') FROM pg_stat_statements",
    )
    .await
}

/// Reads all rows of every table that is not Postgres's own.
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
