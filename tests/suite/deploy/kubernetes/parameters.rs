//! The Cluster's parameters and limits, against `deploy/postgres`.

use std::{collections::BTreeMap, fs};

use anyhow::{Context, Result};
use haven_testkit::workspace;
use serde_json::Value;

use super::overlay::{OVERLAYS, Overlay, items, text, texts};

/// Returns a number that a manifest writes as a string.
fn count(value: &Value, pointer: &str) -> Result<u32> {
    let number = text(value, pointer).parse();
    number.with_context(|| pointer.to_owned())
}

/// The settings of `postgresql.conf` that a Cluster must not repeat, with the reason.
const SET_BY_THE_OPERATOR: [(&str, &str); 11] = [
    (
        "include_if_exists",
        "names a file of the machine, and is no parameter",
    ),
    ("listen_addresses", "fixed by CloudNativePG"),
    ("ssl", "fixed by CloudNativePG"),
    (
        "ssl_cert_file",
        "fixed by CloudNativePG, which issues the certificate",
    ),
    (
        "ssl_key_file",
        "fixed by CloudNativePG, which issues the certificate",
    ),
    (
        "ssl_min_protocol_version",
        "TLSv1.3 by CloudNativePG's default; no client in the cluster needs TLSv1.2",
    ),
    ("archive_mode", "fixed by CloudNativePG"),
    (
        "archive_command",
        "fixed by CloudNativePG, which calls the Barman Cloud plugin",
    ),
    (
        "shared_preload_libraries",
        "CloudNativePG adds pg_stat_statements and pgaudit because of their parameters",
    ),
    (
        "log_destination",
        "fixed by CloudNativePG, which turns CSV into JSON",
    ),
    ("logging_collector", "fixed by CloudNativePG"),
];

/// Reads the file `name` of `deploy/postgres`.
fn file(name: &str) -> Result<String> {
    Ok(fs::read_to_string(
        workspace::root().join("deploy/postgres").join(name),
    )?)
}

#[test]
fn the_cluster_has_the_parameters_of_the_configuration_file() -> Result<()> {
    let mut expected = BTreeMap::new();
    for line in file("postgresql.conf")?.lines() {
        let setting = line.split('#').next().unwrap_or_default();
        if let Some((name, value)) = setting.split_once(" = ") {
            expected.insert(name.to_owned(), value.trim().trim_matches('\'').to_owned());
        }
    }
    assert!(expected.len() > 40, "{expected:?}");
    for (name, reason) in SET_BY_THE_OPERATOR {
        assert!(
            expected.remove(name).is_some(),
            "{name} ({reason}) is not in the file"
        );
    }
    for name in OVERLAYS {
        let overlay = Overlay::read(name)?;
        let cluster = overlay.one("Cluster", "haven-postgres")?;
        let parameters = &cluster["spec"]["postgresql"]["parameters"];
        let parameters: BTreeMap<String, String> = serde_json::from_value(parameters.clone())?;
        assert_eq!(parameters, expected, "{name}");
    }
    Ok(())
}

/// CloudNativePG would take back every limit that the Cluster does not repeat.
#[test]
fn the_managed_roles_have_the_connection_limits_of_the_script() -> Result<()> {
    let mut expected = BTreeMap::new();
    for line in file("roles.sql")?.lines() {
        if let Some((role, limit)) = line.split_once("CONNECTION LIMIT") {
            let role = role.trim().trim_start_matches("ALTER ROLE ").to_owned();
            expected.insert(role, limit.trim().trim_end_matches(';').parse::<i64>()?);
        }
    }
    assert_eq!(expected.len(), 9);
    for name in OVERLAYS {
        let overlay = Overlay::read(name)?;
        let roles = items(overlay.one("Cluster", "haven-postgres")?, "/spec/managed/roles").iter();
        let limits = roles.map(|role| {
            let limit = role["connectionLimit"].as_i64().unwrap_or(-1);
            (text(role, "/name").to_owned(), limit)
        });
        assert_eq!(limits.collect::<BTreeMap<_, _>>(), expected, "{name}");
    }
    Ok(())
}

/// Clients of Postgres use TLS and a password; the last rule refuses what CloudNativePG's own last rule would admit.
#[test]
fn nothing_connects_without_tls() -> Result<()> {
    for name in OVERLAYS {
        let overlay = Overlay::read(name)?;
        let rules = texts(
            overlay.one("Cluster", "haven-postgres")?,
            "/spec/postgresql/pg_hba",
        );
        let (last, others) = rules.split_last().context("no rules")?;
        assert_eq!(*last, "host all all all reject", "{name}");
        for rule in others {
            let words: Vec<_> = rule.split_whitespace().collect();
            assert_eq!(
                (words[0], words[4]),
                ("hostssl", "scram-sha-256"),
                "{name}: {rule}"
            );
        }
    }
    Ok(())
}

/// The pooler opens at most `default_pool_size` connections for each login.
#[test]
fn connections_are_enough_for_all() -> Result<()> {
    for name in OVERLAYS {
        let overlay = Overlay::read(name)?;
        let pooler = overlay.one("Pooler", "haven-pooler")?;
        let cluster = overlay.one("Cluster", "haven-postgres")?;
        // An update of the pooler has one more instance.
        let instances = pooler["spec"]["instances"].as_u64().context("instances")? as u32 + 1;
        let pooled = instances * count(pooler, "/spec/pgbouncer/parameters/default_pool_size")?;
        // Each replica of data listens past the pooler. An update has one more pod, which has two more connections at its start.
        let scaler = overlay.one("HorizontalPodAutoscaler", "data").ok();
        let replicas = scaler.map_or(Some(1), |scaler| scaler["spec"]["maxReplicas"].as_u64());
        let listening = replicas.context("maxReplicas")? as u32 + 1 + 2;
        let mut all = 0;
        for role in items(cluster, "/spec/managed/roles") {
            let limit = role["connectionLimit"].as_u64().context("connectionLimit")? as u32;
            let login = text(role, "/name");
            let opened = if login == "data_worker" {
                pooled + listening
            } else {
                pooled
            };
            assert!(
                !login.ends_with("_app") && !login.ends_with("_worker") || opened <= limit,
                "{name}: {login} may have {limit} connections, and the pooler and listeners open {opened}"
            );
            all += limit;
        }
        let most = count(cluster, "/spec/postgresql/parameters/max_connections")?;
        assert!(all + 20 <= most, "{name}: {all} of {most} connections");

        // Every replica that the autoscalers allow can open all of its connections to one pooler.
        let admitted = count(pooler, "/spec/pgbouncer/parameters/max_client_conn")?;
        let mut wanted = 0;
        for deployment in overlay.all("Deployment") {
            let service = text(deployment, "/metadata/name");
            let scaler = overlay.one("HorizontalPodAutoscaler", service).ok();
            let replicas = scaler.map_or(Some(1), |scaler| scaler["spec"]["maxReplicas"].as_u64());
            let variables = items(deployment, "/spec/template/spec/containers/0/env");
            let size = variables
                .iter()
                .find(|variable| variable["name"] == "DATABASE_POOL_SIZE");
            // WORKER_POOL_SIZE is 4 by default. An update has one more pod.
            let own = count(size.context("DATABASE_POOL_SIZE")?, "/value")? + 4;
            wanted += (replicas.context("maxReplicas")? as u32 + 1) * own;
        }
        assert!(
            wanted <= admitted,
            "{name}: {wanted} connections, {admitted} admitted"
        );
    }
    Ok(())
}
