//! Every metric, label and value that a rule or a dashboard names exists in a real scrape.

use std::{
    collections::{BTreeMap, BTreeSet},
    fs,
    time::Duration,
};

use haven_platform::reason;
use haven_proto::data::v1::{AppendMessageRequest, ListMessagesRequest, SenderType};
use haven_testkit::{random, service::grpc_services, workspace};
use prost_reflect::DescriptorPool;
use serde_json::Value;

use super::{
    dashboards,
    expression::{Matcher, Names, Selector},
    monitored::Monitored,
    rules::rules,
};
use crate::eventually::within;

/// The metrics that `deploy/backup` writes, which this test does not run.
const BACKUP: &str = "haven_backup_";

/// The names in a scrape: for each metric its labels, with their values.
struct Scraped(BTreeMap<String, BTreeMap<String, BTreeSet<String>>>);

impl Scraped {
    fn new(series: &[Value]) -> Self {
        let mut metrics = BTreeMap::<_, BTreeMap<_, BTreeSet<_>>>::new();
        for one in series {
            let labels = one.as_object().unwrap();
            let metric = labels["__name__"].as_str().unwrap();
            let metric = metrics.entry(metric.to_owned()).or_default();
            for (label, value) in labels {
                let values = metric.entry(label.clone()).or_default();
                values.insert(value.as_str().unwrap().to_owned());
            }
        }
        Self(metrics)
    }

    /// Returns what `expression` names and this scrape does not have.
    fn missing(&self, expression: &str) -> Vec<String> {
        let names = Names::of(expression);
        let mut missing: Vec<_> = names
            .selectors
            .iter()
            .flat_map(|selector| self.missing_of(selector))
            .collect();
        let metrics: Vec<_> = names
            .selectors
            .iter()
            .filter(|one| !one.metric.starts_with(BACKUP))
            .filter_map(|one| self.0.get(&one.metric))
            .collect();
        let has =
            |label: &String| metrics.is_empty() || metrics.iter().any(|labels| labels.contains_key(label));
        missing.extend(names.labels.iter().filter(|label| !has(label)).cloned());
        missing
    }

    fn missing_of(&self, selector: &Selector) -> Vec<String> {
        let metric = &selector.metric;
        if metric.starts_with(BACKUP) {
            return match is_written_by_backup(metric) {
                true => vec![],
                false => vec![metric.clone()],
            };
        }
        let Some(labels) = self.0.get(metric) else {
            return vec![metric.clone()];
        };
        let mut missing = Vec::new();
        for matcher in &selector.matchers {
            let Some(found) = labels.get(&matcher.label) else {
                missing.push(format!("{metric}: {}", matcher.label));
                continue;
            };
            // `$job` stands for what a reader of the dashboard chooses.
            let values = matcher.values().into_iter().filter(|value| !value.contains('$'));
            missing.extend(
                values
                    .filter(|value| !exists(matcher, value, found))
                    .map(|value| format!("{metric}: {}={value}", matcher.label)),
            );
        }
        missing
    }
}

/// Returns whether a label can have `value`: as declared, where that can be known, and otherwise as `found`.
fn exists(matcher: &Matcher, value: &str, found: &BTreeSet<String>) -> bool {
    match matcher.label.as_str() {
        "rpc" => match value.strip_prefix(".*/") {
            Some(method) => methods().contains(method),
            None => value == "haven[.].*",
        },
        // Prometheus leaves out an empty label: the call succeeded.
        "reason" => value.is_empty() || reason::from_name(value).is_some(),
        // A machine need not have each kind of file system.
        "fstype" => true,
        _ => found.contains(value),
    }
}

/// Returns the names of all RPCs without their services.
fn methods() -> BTreeSet<String> {
    let pool = DescriptorPool::decode(haven_proto::FILE_DESCRIPTOR_SET).unwrap();
    let names = ["identity", "data"]
        .map(|name| grpc_services(name).unwrap())
        .concat();
    let services = names.iter().map(|name| pool.get_service_by_name(name).unwrap());
    services
        .flat_map(|service| {
            service
                .methods()
                .map(|method| method.name().to_owned())
                .collect::<Vec<_>>()
        })
        .collect()
}

/// Returns whether a file of `deploy/backup` names the metric.
fn is_written_by_backup(metric: &str) -> bool {
    let files = workspace::files(&workspace::root().join("deploy/backup")).unwrap_or_default();
    files.is_empty()
        || files
            .iter()
            .any(|file| fs::read_to_string(file).is_ok_and(|text| text.contains(metric)))
}

#[tokio::test]
async fn every_metric_and_label_of_a_rule_or_a_dashboard_is_in_a_real_scrape() {
    let Some(monitored) = Monitored::start().await else {
        return;
    };
    let mut expressions = dashboards::expressions();
    expressions.extend(rules().into_iter().map(|rule| rule.expr));
    let ada = monitored.stack.person().await.unwrap();
    let client = monitored.stack.user(&ada).unwrap();
    let message = AppendMessageRequest {
        sender_type: SenderType::User.into(),
        text: "hello".to_owned(),
        message_id: String::new(),
        request_id: random::uuid().to_string(),
    };
    // A message is examined for a crisis.
    client.conversation().append_message(message).await.unwrap();
    let mut missing = Vec::new();
    let look = within(Duration::from_secs(90), "nothing is missing", async || {
        // A call that succeeds, one that ends by its deadline, which is a fault, and one that is a retry.
        let mut conversation = client.conversation();
        let mut retry = tonic::Request::new(ListMessagesRequest::default());
        retry
            .metadata_mut()
            .insert("grpc-previous-rpc-attempts", "1".parse().unwrap());
        conversation.list_messages(retry).await.unwrap();
        let mut hurried = tonic::Request::new(ListMessagesRequest::default());
        hurried
            .metadata_mut()
            .insert("grpc-timeout", "1u".parse().unwrap());
        conversation.list_messages(hurried).await.unwrap_err();

        let scraped = Scraped::new(&monitored.series().await);
        missing = expressions
            .iter()
            .flat_map(|expression| scraped.missing(expression))
            .collect::<BTreeSet<_>>()
            .into_iter()
            .collect();
        missing.is_empty()
    });
    if tokio::time::timeout(Duration::from_secs(60), look).await.is_err() {
        panic!("no scrape has: {missing:#?}");
    }

    // The comparison finds mistakes of each kind.
    let scraped = Scraped::new(&monitored.series().await);
    for (wrong, found) in [
        ("rate(haven_rpc_totals[5m])", "haven_rpc_totals"),
        (r#"haven_rpc_total{rcp="x"}"#, "haven_rpc_total: rcp"),
        (
            r#"haven_rpc_total{reason="INTERNALS"}"#,
            "haven_rpc_total: reason=INTERNALS",
        ),
        (
            r#"haven_rpc_seconds_count{rpc!~".*/(SignUp|SingIn)"}"#,
            "haven_rpc_seconds_count: rpc=.*/SingIn",
        ),
        (
            r#"haven_db_connections{state="waiting"}"#,
            "haven_db_connections: state=waiting",
        ),
        ("sum by (jobs) (haven_ready)", "jobs"),
    ] {
        assert_eq!(scraped.missing(wrong), [found], "{wrong}");
    }
}
