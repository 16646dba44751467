//! The Cluster's parameters.

use anyhow::{Context, Result};
use serde_json::Value;

use super::overlay::{OVERLAYS, Overlay, items, text};

/// Returns a number that a manifest writes as a string.
fn count(value: &Value, pointer: &str) -> Result<u32> {
    let number = text(value, pointer).parse();
    number.with_context(|| pointer.to_owned())
}

/// The pooler opens at most `default_pool_size` connections for each login; the Job and people use the others.
#[test]
fn the_pooler_leaves_connections_for_others() -> Result<()> {
    for name in OVERLAYS {
        let overlay = Overlay::read(name)?;
        let pooler = overlay.one("Pooler", "haven-pooler")?;
        let cluster = overlay.one("Cluster", "haven-postgres")?;
        let instances = pooler["spec"]["instances"].as_u64().context("instances")? as u32;
        let logins = 4;
        let pooled = instances * logins * count(pooler, "/spec/pgbouncer/parameters/default_pool_size")?;
        let all = count(cluster, "/spec/postgresql/parameters/max_connections")?;
        assert!(pooled + 20 <= all, "{name}: {pooled} of {all} connections");

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
