//! The architecture of the workspace, checked in its sources: which crates and modules may name which, that imports
//! form no circle, and that the folders follow the contract.

mod imports;
mod layout;
mod source;
mod statements;

use std::{
    fs,
    path::{Path, PathBuf},
};

use haven_testkit::workspace;

const SERVICES: [&str; 2] = ["identity", "data"];

/// Words of the product that the platform must not use, in the singular. Words with a neutral meaning are left out:
/// message (of a protocol), lease (of a connection), password and pepper (of a hash), person and user (of a call),
/// record (of a log), finding (of a check of the database), export (of metrics).
const BUSINESS_NOUNS: [&str; 29] = [
    "account",
    "analysis",
    "audit",
    "coach",
    "conflict",
    "consent",
    "conversation",
    "crisis",
    "cycle",
    "deletion",
    "device",
    "email",
    "envelope",
    "erasure",
    "goal",
    "graduation",
    "healthcare",
    "installation",
    "job",
    "leaseholder",
    "milestone",
    "newcomer",
    "outbox",
    "passcode",
    "preference",
    "provision",
    "share",
    "stage",
    "suicide",
];

/// Returns the lines of code under `folder` that name one of `crates`.
fn naming(folder: &Path, crates: &[&str]) -> Vec<String> {
    let mut found = Vec::new();
    for path in source::files(folder) {
        let text = fs::read_to_string(&path).unwrap();
        for (number, line) in text.lines().enumerate() {
            let code = line.split("//").next().unwrap_or_default();
            let named = |name: &&&str| {
                code.contains(&format!("{name}::"))
                    || code.contains(&format!("use {name}"))
                    || code.contains(&format!("{name} ="))
            };
            if crates.iter().find(named).is_some() {
                found.push(format!("{}:{}: {}", path.display(), number + 1, line.trim()));
            }
        }
    }
    found
}

/// Returns the folder of a layer (`domain`, `store`, `rpc`) of `service`.
fn layer(service: &str, layer: &str) -> PathBuf {
    let path = workspace::root()
        .join("services")
        .join(service)
        .join("src")
        .join(layer);
    assert!(!source::files(&path).is_empty(), "{} is empty", path.display());
    path
}

/// The statistics of Postgres 18 leave out a comment before a statement's first keyword.
#[test]
fn statements_have_their_name_behind_the_first_keyword() {
    let mut misplaced = Vec::new();
    let mut named = 0;
    for service in SERVICES {
        for path in source::files(&workspace::root().join("services").join(service).join("src")) {
            for line in fs::read_to_string(&path).unwrap().lines() {
                let Some((before, _)) = line.split_once("/* ") else {
                    continue;
                };
                named += 1;
                if before.trim_end().ends_with('"') {
                    misplaced.push(format!("{}: {}", path.display(), line.trim()));
                }
            }
        }
    }
    assert!(named > 100, "{named} statements");
    assert!(misplaced.is_empty(), "{misplaced:#?}");
}

#[test]
fn the_domain_layer_names_neither_tonic_nor_sqlx() {
    for service in SERVICES {
        let found = naming(
            &layer(service, "domain"),
            &["tonic", "sqlx", "prost", "haven_proto"],
        );
        assert!(found.is_empty(), "{found:#?}");
    }
}

#[test]
fn the_store_layer_does_not_name_tonic_and_the_rpc_layer_does_not_name_sqlx() {
    for service in SERVICES {
        let found = naming(&layer(service, "store"), &["tonic", "haven_proto"]);
        assert!(found.is_empty(), "{found:#?}");
        let found = naming(&layer(service, "rpc"), &["sqlx"]);
        assert!(found.is_empty(), "{found:#?}");
    }
}

#[test]
fn only_the_store_layer_names_sqlx() {
    for service in SERVICES {
        let folder = workspace::root().join("services").join(service).join("src");
        let outside: Vec<_> = naming(&folder, &["sqlx"])
            .into_iter()
            .filter(|line| !line.contains("/store/") && !line.contains("sqlx::migrate!"))
            .collect();
        assert!(outside.is_empty(), "{outside:#?}");
    }
}

#[test]
fn crates_depend_in_one_direction() {
    let order = [
        "haven-proto",
        "haven-platform",
        "haven-identity",
        "haven-data",
        "haven-testkit",
        "haven-dev",
    ];
    let manifests = [
        "proto",
        "services/platform",
        "services/identity",
        "services/data",
        "tests",
        "deploy/dev",
    ];
    // Each crate may depend on the crates before it, except that data does not depend on identity.
    for (position, (name, folder)) in order.iter().zip(manifests).enumerate() {
        let manifest = fs::read_to_string(workspace::root().join(folder).join("Cargo.toml")).unwrap();
        let manifest: toml::Table = toml::from_str(&manifest).unwrap();
        assert_eq!(manifest["package"]["name"].as_str(), Some(*name));
        for table in ["dependencies", "dev-dependencies", "build-dependencies"] {
            let Some(dependencies) = manifest.get(table).and_then(toml::Value::as_table) else {
                continue;
            };
            for dependency in dependencies
                .keys()
                .filter(|dependency| dependency.starts_with("haven-"))
            {
                let allowed = order[..position].contains(&dependency.as_str())
                    && (*name, dependency.as_str()) != ("haven-data", "haven-identity");
                assert!(allowed, "{name} must not depend on {dependency}");
            }
        }
    }
}

#[test]
fn the_platform_names_neither_the_services_nor_their_protos() {
    let found = naming(
        &workspace::root().join("services/platform/src"),
        &["haven_identity", "haven_data"],
    );
    assert!(found.is_empty(), "{found:#?}");
    let protos = source::files(&workspace::root().join("services/platform/src"))
        .into_iter()
        .filter(|path| {
            let text = fs::read_to_string(path).unwrap();
            text.contains("haven_proto::identity") || text.contains("haven_proto::data")
        })
        .collect::<Vec<_>>();
    assert!(protos.is_empty(), "{protos:?}");
}

/// Splits an identifier (`ShareToken`, `share_tokens`) into its words, in lower case.
fn words(identifier: &str) -> Vec<String> {
    let mut words: Vec<String> = Vec::new();
    let mut before = '_';
    for character in identifier.chars() {
        if before == '_' || (before.is_lowercase() && character.is_uppercase()) {
            words.push(String::new());
        }
        if character != '_' {
            words.last_mut().unwrap().extend(character.to_lowercase());
        }
        before = character;
    }
    words
}

#[test]
fn no_identifier_of_the_platform_is_a_business_noun() {
    let folder = workspace::root().join("services/platform/src");
    let mut found = Vec::new();
    for path in source::files(&folder) {
        // This file gives each published reason its code and its text, and every reason belongs to the platform's error
        // contract.
        if path.ends_with("src/reason.rs") {
            continue;
        }
        for (number, line) in source::code(&path).lines().enumerate() {
            let identifiers = line.split(|c: char| !c.is_alphanumeric() && c != '_');
            let nouns = identifiers.filter(|identifier| {
                let is_noun = |word: &str| BUSINESS_NOUNS.contains(&word);
                words(identifier)
                    .iter()
                    .any(|word| is_noun(word) || word.strip_suffix('s').is_some_and(is_noun))
            });
            found.extend(nouns.map(|noun| format!("{}:{}: {noun}", path.display(), number + 1)));
        }
    }
    assert!(found.is_empty(), "{found:#?}");
}

#[test]
fn no_crate_has_a_circle_of_imports() {
    for root in [
        "proto/src/lib.rs",
        "services/platform/src/lib.rs",
        "services/identity/src/lib.rs",
        "services/data/src/lib.rs",
        "tests/src/lib.rs",
        "deploy/dev/src/main.rs",
    ] {
        let circle = imports::circle(&workspace::root().join(root));
        assert!(circle.is_none(), "{root}: {}", circle.unwrap().join(" imports "));
    }
}

#[test]
fn main_only_calls_the_library() {
    for service in SERVICES {
        let path = workspace::root()
            .join("services")
            .join(service)
            .join("src/main.rs");
        let lines = fs::read_to_string(path).unwrap().lines().count();
        assert!(lines < 30, "{service}: {lines} lines");
    }
}
