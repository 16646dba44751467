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
