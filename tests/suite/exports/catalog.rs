//! The decisions against the catalog: a new table or column fails here until it has one.

use std::collections::{BTreeMap, BTreeSet};

use haven_testkit::Stack;

use super::decisions::Decisions;

/// The column with the person's id, which is the `user_id` of the manifest everywhere.
pub(super) const PERSON: &str = "user_id";

/// Returns the columns of each table of both schemas.
pub(super) async fn columns(stack: &Stack) -> BTreeMap<String, BTreeSet<String>> {
    let mut superuser = stack.database.connect("postgres").await.unwrap();
    let columns: Vec<(String, String)> = sqlx::query_as(
        "SELECT format('%I.%I', n.nspname, c.relname), a.attname::text
         FROM pg_class AS c
             JOIN pg_namespace AS n ON n.oid = c.relnamespace
             JOIN pg_attribute AS a ON a.attrelid = c.oid
         WHERE n.nspname IN ('identity', 'data') AND c.relkind IN ('r', 'p', 'f', 'm')
             AND a.attnum > 0 AND NOT a.attisdropped",
    )
    .fetch_all(&mut superuser)
    .await
    .unwrap();
    let mut tables: BTreeMap<String, BTreeSet<String>> = BTreeMap::new();
    for (table, column) in columns {
        tables.entry(table).or_default().insert(column);
    }
    tables
}

#[tokio::test]
async fn every_column_is_exported_or_has_a_reason_not_to_be() {
    let stack = Stack::shared().await.unwrap();
    let (mut problems, decisions) = (Vec::new(), Decisions::read());
    let mut tables = columns(stack).await;
    for (name, decided) in &decisions.tables {
        let Some(columns) = tables.remove(name) else {
            problems.push(format!("{name} is not in the database"));
            continue;
        };
        let has_people = columns.contains(PERSON) || name.ends_with(".users");
        if let Some(reason) = &decided.without_people {
            if has_people || reason.is_empty() || !decided.columns().is_empty() {
                problems.push(format!(
                    "{name} has rows of people: decide about each of its columns"
                ));
            }
            continue;
        }
        let mut undecided = columns;
        undecided.remove(PERSON);
        for column in decided.columns() {
            if !undecided.remove(column) {
                problems.push(format!(
                    "{name}.{column} is not in the database, or is decided twice"
                ));
            }
        }
        problems.extend(undecided.iter().map(|column| {
            format!("{name}.{column} has no decision: export it, or state why not, in catalog.toml")
        }));
        if decided.message.is_none() != decided.exported.is_empty() {
            problems.push(format!("{name} has either a message with columns, or neither"));
        }
        if decided.not_exported.keys().any(String::is_empty) {
            problems.push(format!("{name} has a column without a reason"));
        }
    }
    problems.extend(
        tables
            .keys()
            .map(|name| format!("{name} has no decision in catalog.toml")),
    );
    assert!(problems.is_empty(), "{}", problems.join("\n"));
}

/// Each reason that Postgres accepts has a name in the contract, without which an export would not tell it.
#[tokio::test]
async fn every_stored_reason_of_a_sessions_end_has_a_name_in_the_contract() {
    let stack = Stack::shared().await.unwrap();
    let check: String = crate::superuser_sql::scalar(
        &stack.database,
        "SELECT substring(prosrc FROM 'NOT \\(end_reason IN \\(([^)]*)\\)\\)\\s*THEN ''sessions_end_reason_check''') FROM pg_proc
         WHERE oid = 'identity.check_sessions'::regproc",
    )
    .await;
    let mut reasons = 0;
    for reason in check.split('\'').skip(1).step_by(2) {
        let name = format!("SESSION_END_REASON_{}", reason.to_uppercase());
        let named = haven_proto::identity::v1::SessionEndReason::from_str_name(&name);
        assert!(named.is_some(), "{name} is not in the contract");
        reasons += 1;
    }
    assert!(reasons >= 6, "{check}");
}
