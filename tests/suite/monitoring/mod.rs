//! `deploy/monitoring`: the rules, the dashboards and the runbook agree with each other and with what is really scraped, and
//! alerts reach a receiver.

mod dashboards;
mod drill;
mod expression;
mod metric_names;
mod metrics_table;
mod monitored;
mod notifications;
mod rules;
mod runbook;

/// The packages of Debian and Ubuntu with the programs.
const PACKAGES: [&str; 4] = [
    "prometheus",
    "prometheus-alertmanager",
    "prometheus-node-exporter",
    "prometheus-postgres-exporter",
];

/// Writes the secret of a trusted issuer into `directory`, so that the metrics of its keys exist. Returns the value of
/// `TRUSTED_ISSUERS`.
fn trusted_issuer(directory: &std::path::Path) -> String {
    let secret = directory.join("issuer-secret");
    std::fs::write(&secret, "a secret of thirty-two bytes ...").unwrap();
    format!("https://other.example=hs256:{}", secret.display())
}
