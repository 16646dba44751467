//! The snapshot of the catalog: a reviewed line for each object of the schemas, and for the cluster's roles. A change of a
//! policy, grant, constraint, index, trigger, view, owner or property of a function is a difference in `snapshot/*.txt`.
//!
//! The rules and the matrix say what is right for every object; the snapshot says that nothing changed unseen. After a
//! migration, `HAVEN_WRITE_CATALOG=1 cargo test --test suite -- schema::snapshot` writes it, and the difference is reviewed
//! with the migration. It is the same on every version of Postgres.

use std::{
    collections::{BTreeMap, BTreeSet},
    env, fs,
    path::PathBuf,
};

use anyhow::Result;
use haven_testkit::{database::Database, secrets::SUPERUSER, workspace};
use sqlx::PgConnection;

use super::empty;

/// The variable with which the test writes the snapshot.
const WRITE: &str = "HAVEN_WRITE_CATALOG";

/// The lines of each page: `cluster`, `identity` and `data`.
pub(crate) type Pages = BTreeMap<String, BTreeSet<String>>;

/// Makes the connection ready for [`read`]: names are qualified in texts, and the function that it calls exists.
pub(crate) async fn prepare(superuser: &mut PgConnection) -> Result<()> {
    sqlx::raw_sql("SET search_path = ''")
        .execute(&mut *superuser)
        .await?;
    sqlx::raw_sql(include_str!("snapshot/privileges.sql"))
        .execute(superuser)
        .await?;
    Ok(())
}

/// Reads the catalog through a connection that [`prepare`] made ready.
pub(crate) async fn read(superuser: &mut PgConnection) -> Result<Pages> {
    let lines: Vec<(String, String)> = sqlx::query_as(include_str!("snapshot/catalog.sql"))
        .persistent(false)
        .fetch_all(superuser)
        .await?;
    let mut pages = Pages::new();
    for (page, line) in lines {
        pages.entry(page).or_default().insert(line);
    }
    Ok(pages)
}

/// Reads the reviewed snapshot.
pub(crate) fn reviewed() -> Result<Pages> {
    let mut pages = Pages::new();
    for page in ["cluster", "identity", "data"] {
        let text = fs::read_to_string(file(page)).unwrap_or_default();
        pages.insert(page.to_owned(), text.lines().map(str::to_owned).collect());
    }
    Ok(pages)
}

/// Returns the lines that only one of two snapshots has, as in a diff.
pub(crate) fn differences(reviewed: &Pages, found: &Pages) -> Vec<String> {
    let mut differences = Vec::new();
    let names: BTreeSet<&String> = reviewed.keys().chain(found.keys()).collect();
    for name in names {
        let none = BTreeSet::new();
        let (old, new) = (
            reviewed.get(name).unwrap_or(&none),
            found.get(name).unwrap_or(&none),
        );
        differences.extend(old.difference(new).map(|line| format!("- {line}")));
        differences.extend(new.difference(old).map(|line| format!("+ {line}")));
    }
    differences
}

fn file(page: &str) -> PathBuf {
    workspace::root().join(format!("tests/suite/schema/snapshot/{page}.txt"))
}

/// Compares the catalog of a migrated database with the snapshot.
pub(crate) async fn check(database: &Database) -> Result<()> {
    let mut superuser = database.connect(SUPERUSER).await?;
    prepare(&mut superuser).await?;
    let found = read(&mut superuser).await?;
    if env::var_os(WRITE).is_some() {
        for (page, lines) in &found {
            let text: String = lines.iter().map(|line| format!("{line}\n")).collect();
            fs::write(file(page), text)?;
        }
    }
    let differences = differences(&reviewed()?, &found);
    assert!(
        differences.is_empty(),
        "the catalog is not as reviewed; when the change is meant, run this test with {WRITE}=1 and review the \
         difference:\n{}",
        differences.join("\n")
    );
    Ok(())
}

#[tokio::test]
async fn the_catalog_is_as_reviewed() -> Result<()> {
    let database = empty().await?;
    check(&database).await
}
