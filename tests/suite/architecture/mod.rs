//! The walls between crates and between the rooms of a service, seen in the sources.

use std::{
    fs,
    path::{Path, PathBuf},
};

use haven_testkit::workspace;

const SERVICES: [&str; 2] = ["identity", "data"];

fn sources(folder: &Path) -> Vec<PathBuf> {
    let mut found = Vec::new();
    for entry in fs::read_dir(folder).unwrap_or_else(|error| panic!("{}: {error}", folder.display())) {
        let path = entry.unwrap().path();
        if path.is_dir() {
            found.extend(sources(&path));
        } else if path.extension().is_some_and(|extension| extension == "rs") {
            found.push(path);
        }
    }
    found
}

/// The lines of code under `folder` that name one of `crates`.
fn naming(folder: &Path, crates: &[&str]) -> Vec<String> {
    let mut found = Vec::new();
    for path in sources(folder) {
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

fn room(service: &str, room: &str) -> PathBuf {
    let path = workspace::root()
        .join("services")
        .join(service)
        .join("src")
        .join(room);
    assert!(!sources(&path).is_empty(), "{} is empty", path.display());
    path
}

#[test]
fn domain_knows_neither_tonic_nor_sqlx() {
    for service in SERVICES {
        let found = naming(
            &room(service, "domain"),
            &["tonic", "sqlx", "prost", "haven_proto"],
        );
        assert!(found.is_empty(), "{found:#?}");
    }
}

#[test]
fn store_knows_no_tonic_and_rpc_no_sql() {
    for service in SERVICES {
        let found = naming(&room(service, "store"), &["tonic", "haven_proto"]);
        assert!(found.is_empty(), "{found:#?}");
        let found = naming(&room(service, "rpc"), &["sqlx"]);
        assert!(found.is_empty(), "{found:#?}");
    }
}

#[test]
fn sql_is_in_the_store_alone() {
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
    // What each may depend on: everything before it, but for the two services, which never name each other.
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
fn the_platform_has_no_business_noun() {
    let found = naming(
        &workspace::root().join("services/platform/src"),
        &["haven_identity", "haven_data"],
    );
    assert!(found.is_empty(), "{found:#?}");
    let protos = sources(&workspace::root().join("services/platform/src"))
        .into_iter()
        .filter(|path| {
            let text = fs::read_to_string(path).unwrap();
            text.contains("haven_proto::identity") || text.contains("haven_proto::data")
        })
        .collect::<Vec<_>>();
    assert!(protos.is_empty(), "{protos:?}");
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
