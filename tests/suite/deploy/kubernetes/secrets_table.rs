//! The table of Secrets in `deploy/kubernetes/README.md`, against what the overlays refer to and `new-secrets` makes.

use std::{collections::BTreeSet, fs};

use anyhow::Result;
use haven_testkit::workspace;
use serde_json::Value;

use super::{
    overlay::{OVERLAYS, Overlay, items, text},
    pod::containers,
    secret_store::new_secrets,
};

/// The header of the table.
const HEADER: &str = "| Secret | keys | content | made by |";

/// The Secret, the key, and the last cell of each row.
fn documented() -> Result<BTreeSet<(String, String, String)>> {
    let page = fs::read_to_string(workspace::root().join("deploy/kubernetes/README.md"))?;
    let rows = page.lines().skip_while(|line| *line != HEADER).skip(2);
    let mut found = BTreeSet::new();
    for row in rows.take_while(|line| line.starts_with("| ")) {
        let cells: Vec<&str> = row.trim_matches(['|', ' ']).split(" | ").collect();
        assert_eq!(cells.len(), 4, "{row}");
        let quoted = |cell: &str| {
            cell.split('`')
                .skip(1)
                .step_by(2)
                .map(str::to_owned)
                .collect::<Vec<_>>()
        };
        for secret in quoted(cells[0]) {
            for key in quoted(cells[1]) {
                found.insert((secret.clone(), key, cells[3].replace('`', "")));
            }
        }
    }
    Ok(found)
}

/// Returns each Secret and key that the documents of `overlay` refer to.
fn referenced(overlay: &Overlay) -> BTreeSet<(String, String)> {
    let mut found = BTreeSet::new();
    let mut add = |secret: &str, keys: &[&str]| {
        found.extend(keys.iter().map(|key| (secret.to_owned(), (*key).to_owned())));
    };
    for (_, pod) in overlay.pods() {
        for volume in items(pod, "/spec/volumes") {
            let secret = text(volume, "/secret/secretName");
            let keys: Vec<&str> = items(volume, "/secret/items")
                .iter()
                .map(|item| text(item, "/key"))
                .collect();
            add(secret, &keys);
            // A Secret that is mounted whole: the files that the pod's variables name.
            let mounted = containers(pod).flat_map(|container| {
                let mounts = items(container, "/volumeMounts").iter();
                let mounts = mounts
                    .filter(|mount| !secret.is_empty() && keys.is_empty() && mount["name"] == volume["name"]);
                mounts.flat_map(|mount| files(container, text(mount, "/mountPath")))
            });
            add(secret, &mounted.collect::<Vec<_>>());
        }
    }
    for cluster in overlay.all("Cluster") {
        add(
            text(cluster, "/spec/bootstrap/initdb/secret/name"),
            &["username", "password"],
        );
        for role in items(cluster, "/spec/managed/roles") {
            add(text(role, "/passwordSecret/name"), &["username", "password"]);
        }
    }
    for store in overlay.all("ObjectStore") {
        let credentials = store["spec"]["configuration"]["s3Credentials"].as_object();
        for credential in credentials
            .into_iter()
            .flat_map(|credentials| credentials.values())
        {
            add(text(credential, "/name"), &[text(credential, "/key")]);
        }
    }
    found
}

/// The names of the files below `directory` that a container's variables name.
fn files<'a>(container: &'a Value, directory: &'a str) -> impl Iterator<Item = &'a str> {
    let values = items(container, "/env")
        .iter()
        .filter_map(|variable| variable["value"].as_str());
    values
        .flat_map(|value| value.split(','))
        .filter_map(move |value| value.strip_prefix(directory)?.strip_prefix('/'))
}

#[test]
fn the_table_has_every_secret_and_key_that_an_overlay_refers_to_and_no_other() -> Result<()> {
    let documented = documented()?;
    let names: BTreeSet<_> = documented
        .iter()
        .map(|(secret, key, _)| (secret.clone(), key.clone()))
        .collect();
    let mut used = BTreeSet::new();
    for overlay in OVERLAYS {
        used.extend(referenced(&Overlay::read(overlay)?));
    }
    assert!(used.len() > 30, "{used:?}");
    let lacking: Vec<_> = used.difference(&names).collect();
    assert!(lacking.is_empty(), "the table lacks {lacking:?}");
    // The callers' own pods mount these.
    let others = names
        .difference(&used)
        .filter(|(secret, _)| !["backend-tls", "analysis-worker-tls"].contains(&secret.as_str()));
    assert_eq!(others.collect::<Vec<_>>(), Vec::<&(String, String)>::new());
    Ok(())
}

#[test]
fn new_secrets_makes_the_secrets_that_the_table_says_it_makes() -> Result<()> {
    let documented = documented()?
        .into_iter()
        .filter(|(.., maker)| maker == "new-secrets");
    let documented: BTreeSet<_> = documented.map(|(secret, key, _)| (secret, key)).collect();
    let made: BTreeSet<_> = new_secrets()?
        .into_iter()
        .flat_map(|(secret, keys)| keys.into_keys().map(move |key| (secret.clone(), key)))
        .collect();
    assert_eq!(documented, made);
    // Two installations have nothing in common.
    assert_ne!(new_secrets()?["data-keys"], new_secrets()?["data-keys"]);
    Ok(())
}
