//! The table of metrics in `deploy/README.md`, against the pages of both services.

use std::{
    collections::{BTreeMap, BTreeSet},
    fs,
};

use haven_proto::{
    data::v1::{AppendMessageRequest, SenderType},
    identity::v1::GetSigningKeysRequest,
};
use haven_testkit::{Stack, random, workspace};

use super::trusted_issuer;
use crate::{eventually::eventually, metrics::Metrics};

/// The type and the labels of a metric.
type Shape = (String, BTreeSet<String>);

/// Reads the table: `| name | type | labels | meaning |`.
fn documented() -> BTreeMap<String, Shape> {
    let text = fs::read_to_string(workspace::root().join("deploy/README.md")).unwrap();
    let (_, table) = text
        .split_once("| metric | type | labels | meaning |\n")
        .expect("the table");
    let rows = table.lines().skip(1).take_while(|line| line.starts_with('|'));
    rows.map(|row| {
        let cells: Vec<_> = row.split('|').map(|cell| cell.trim().replace('`', "")).collect();
        let labels = cells[3].split(", ").filter(|label| !label.is_empty());
        let labels = labels.map(str::to_owned).collect();
        (cells[1].clone(), (cells[2].clone(), labels))
    })
    .collect()
}

/// Adds the metrics of a page to `found`.
fn add(page: &str, found: &mut BTreeMap<String, Shape>) {
    let mut current = String::new();
    for line in page.lines() {
        if let Some(typed) = line.strip_prefix("# TYPE ") {
            let (name, kind) = typed.split_once(' ').unwrap();
            name.clone_into(&mut current);
            found.entry(current.clone()).or_default().0 = kind.to_owned();
        } else if let Some((_, labels)) = line.split_once('{').filter(|_| !line.starts_with('#')) {
            let labels = labels.split("=\"").filter_map(|part| {
                let label = part.rsplit(['"', ',', '{']).next()?;
                let is_label = !label.is_empty() && label.chars().all(|c| c.is_ascii_lowercase() || c == '_');
                (is_label && label != "le").then(|| label.to_owned())
            });
            found.entry(current.clone()).or_default().1.extend(labels);
        }
    }
}

#[tokio::test]
async fn the_table_has_every_metric_of_both_services_with_its_type_and_labels() {
    let directory = tempfile::tempdir().unwrap();
    let issuers = trusted_issuer(directory.path());
    let stack = Stack::builder().variable("data", "TRUSTED_ISSUERS", issuers);
    let stack = stack.listening().start().await.unwrap();
    let ada = stack.person().await.unwrap();
    let client = stack.user(&ada).unwrap();
    let message = AppendMessageRequest {
        sender_type: SenderType::User.into(),
        text: "hello".to_owned(),
        message_id: String::new(),
        request_id: random::uuid().to_string(),
    };
    client.conversation().append_message(message).await.unwrap();
    let mut retry = tonic::Request::new(GetSigningKeysRequest {});
    retry
        .metadata_mut()
        .insert("grpc-previous-rpc-attempts", "1".parse().unwrap());
    client.session().get_signing_keys(retry).await.unwrap();

    let documented = documented();
    let mut found = BTreeMap::new();
    // The first sweep comes within seconds.
    eventually("the pages have all metrics of the table", async || {
        for service in [&stack.identity, &stack.data] {
            add(&Metrics::read(service.listeners.metrics).await.page, &mut found);
        }
        documented.keys().all(|name| found.contains_key(name))
    })
    .await;
    assert_eq!(found, documented);
}
