//! The nodes have the settings of `deploy/postgres`, although Patroni writes the configuration.

use std::{collections::BTreeMap, fs};

use haven_testkit::{
    failover::{Failover, NODES},
    workspace,
};

/// Settings that the rig changes: addresses, files, and where the write-ahead log goes.
const CHANGED: [&str; 5] = [
    "listen_addresses",
    "ssl_cert_file",
    "ssl_key_file",
    "archive_command",
    "wal_keep_size",
];

/// Settings that Patroni passes on the command line, or the test's own connection chooses. Their values must be those of the
/// file.
const REPEATED: [&str; 3] = ["max_connections", "wal_level", "timezone"];

/// Returns each setting of `deploy/postgres/postgresql.conf` with its value.
fn settings() -> BTreeMap<String, String> {
    let file = fs::read_to_string(workspace::root().join("deploy/postgres/postgresql.conf")).unwrap();
    let lines = file
        .lines()
        .filter(|line| !line.starts_with('#') && !line.starts_with("include"));
    let settings = lines.filter_map(|line| line.split_once(" = "));
    settings
        .map(|(name, value)| (name.to_owned(), value.trim_matches('\'').to_owned()))
        .collect()
}

/// Asserts that every setting of the file is in force on every node, except [`CHANGED`].
pub(super) async fn assert_those_of_production(rig: &Failover) {
    let settings = settings();
    assert!(settings.len() > 40, "{settings:?}");
    for node in 0..NODES {
        let mut superuser = rig.superuser(node).await.unwrap();
        for (name, value) in &settings {
            if CHANGED.contains(&name.as_str()) {
                continue;
            }
            let (actual, file): (String, Option<String>) =
                sqlx::query_as("SELECT setting, sourcefile FROM pg_settings WHERE lower(name) = lower($1)")
                    .bind(name)
                    .fetch_one(&mut superuser)
                    .await
                    .unwrap_or_else(|error| panic!("{name}: {error}"));
            let is_of_file = match REPEATED.contains(&name.as_str()) {
                true => &actual == value,
                false => file
                    .as_ref()
                    .is_some_and(|file| file.ends_with("/postgresql.haven.conf")),
            };
            assert!(is_of_file, "{name} is {actual} on node {node}, from {file:?}");
        }
    }
}
