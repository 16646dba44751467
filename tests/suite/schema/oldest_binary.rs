//! The oldest program that each migration allows: its file declares it, and the schema's function has it.

use std::{collections::BTreeMap, fs, path::Path};

use anyhow::{Context, Result, ensure};
use haven_testkit::{secrets::SUPERUSER, workspace};
use sqlx::AssertSqlSafe;

use super::{
    empty,
    migrations::{directory, unmigrated, up, versions},
};

/// The first migration that declares the oldest program.
const FIRST: i64 = 20_261_129_000_100;

/// Returns the version that a migration's file declares on its first line, or on its second one after `-- no-transaction`. `None` for migrations before [`FIRST`].
fn declared(file: &Path) -> Result<Option<(i64, i64)>> {
    let name = file
        .file_name()
        .and_then(|name| name.to_str())
        .context("a name")?;
    let version: i64 = name.split('_').next().context("a version")?.parse()?;
    if version < FIRST {
        return Ok(None);
    }
    let sql = fs::read_to_string(file)?;
    let declared = sql
        .lines()
        .find(|line| *line != "-- no-transaction")
        .and_then(|line| line.strip_prefix("-- oldest_binary: "));
    let oldest: i64 = declared
        .with_context(|| {
            format!(
                "{name} does not declare the oldest program that it allows: its first line must be \
                 `-- oldest_binary: VERSION`, with the newest migration of that program"
            )
        })?
        .parse()
        .with_context(|| format!("{name}: oldest_binary must be the version of a migration"))?;
    ensure!(
        (FIRST..=version).contains(&oldest),
        "{name}: oldest_binary must be a migration from {FIRST} on, and this one at the newest"
    );
    Ok(Some((version, oldest)))
}

/// Returns the declarations of the schema's migrations.
fn declarations(schema: &str) -> Result<BTreeMap<i64, i64>> {
    let mut declarations = BTreeMap::new();
    for file in workspace::files(&directory(schema))? {
        if file.to_string_lossy().ends_with(".up.sql") {
            declarations.extend(declared(&file)?);
        }
    }
    Ok(declarations)
}

#[tokio::test]
async fn every_migration_declares_the_oldest_program_and_the_schema_has_what_they_declare() -> Result<()> {
    let template = empty().await?;
    let database = unmigrated(&template).await?;
    let mut superuser = database.connect(SUPERUSER).await?;
    for schema in ["identity", "data"] {
        let declarations = declarations(schema)?;
        assert!(!declarations.is_empty(), "{schema}");
        let known = versions(schema).await?;
        for (version, oldest) in &declarations {
            assert!(
                known.contains(oldest),
                "{schema}: {version} declares {oldest}, which is no migration"
            );
            up(&database, schema, *version).await?;
            let function = AssertSqlSafe(format!("SELECT {schema}.oldest_binary()"));
            let found: i64 = sqlx::query_scalar(function).fetch_one(&mut superuser).await?;
            let expected = declarations.range(..=version).map(|(_, oldest)| *oldest).max();
            assert_eq!(
                Some(found),
                expected,
                "{schema}.oldest_binary() after {version}: a migration that raises what it declares replaces the function"
            );
        }
    }
    drop(superuser);
    template.drop_database(&database.name).await
}

#[test]
fn a_migration_without_a_declaration_or_with_a_wrong_one_is_refused() {
    let directory = tempfile::tempdir().unwrap();
    for (first_line, expected) in [
        (
            "SET LOCAL row_security = off;",
            Some("does not declare the oldest program"),
        ),
        (
            "-- oldest_binary: soon",
            Some("must be the version of a migration"),
        ),
        ("-- oldest_binary: 20261122000100", Some("from 20261129000100 on")),
        ("-- oldest_binary: 20991231000002", Some("this one at the newest")),
        ("-- oldest_binary: 20261129000100", None),
        ("-- no-transaction\n-- oldest_binary: 20261129000100", None),
        (
            "-- no-transaction\nCREATE INDEX CONCURRENTLY",
            Some("does not declare the oldest program"),
        ),
    ] {
        let file = directory.path().join("20991231000001_later.up.sql");
        fs::write(&file, format!("{first_line}\n")).unwrap();
        let refusal = declared(&file).err().map(|error| format!("{error:#}"));
        match (&refusal, expected) {
            (Some(refusal), Some(expected)) => assert!(refusal.contains(expected), "{refusal}"),
            (None, None) => {}
            _ => panic!("{first_line}: {refusal:?}"),
        }
    }
}
