//! The table in `services/EXPORT.md`, which is made from the decisions.

use std::{env, fs};

use haven_testkit::workspace;

use super::decisions::{Decisions, Table};

/// The header of the table.
const HEADER: &str = "| table | exported as | columns, and the fields where the names differ | not exported |\n| --- | --- | --- | --- |\n";

/// The variable with which the test writes the table.
const WRITE: &str = "HAVEN_WRITE_EXPORT_TABLE";

/// Returns the rows of the table.
fn table() -> String {
    let decisions = Decisions::read();
    let tables = |schema: &'static str| {
        let tables = decisions.tables.iter();
        tables.filter(move |(name, _)| name.starts_with(schema))
    };
    let rows = tables("identity.").chain(tables("data."));
    rows.map(|(name, table)| row(name, table)).collect()
}

/// Returns the row of one table.
fn row(name: &str, table: &Table) -> String {
    let message = table.message.as_ref();
    let message = message.map_or("-".to_owned(), |message| format!("`{message}`"));
    let columns = table
        .exported
        .iter()
        .map(|(column, exported)| match exported.path() == column {
            true => format!("`{column}`"),
            false => format!("`{column}`: `{}`", exported.path()),
        });
    let columns: Vec<_> = columns.collect();
    let columns = match columns.is_empty() {
        true => "-".to_owned(),
        false => columns.join(", "),
    };
    let reasons = table.not_exported.iter().map(|(reason, columns)| {
        let columns: Vec<_> = columns.iter().map(|column| format!("`{column}`")).collect();
        format!("{}: {reason}", columns.join(", "))
    });
    let mut reasons: Vec<_> = reasons.collect();
    reasons.extend(
        table
            .without_people
            .as_ref()
            .map(|reason| format!("no people: {reason}")),
    );
    let reasons = match reasons.is_empty() {
        true => "-".to_owned(),
        false => reasons.join(". "),
    };
    format!("| `{name}` | {message} | {columns} | {reasons} |\n")
}

#[test]
fn the_page_has_the_table_of_all_columns() {
    let path = workspace::root().join("services/EXPORT.md");
    let page = fs::read_to_string(&path).unwrap();
    let (before, rest) = page.split_once(HEADER).expect("the page has the table's header");
    let documented: String = rest
        .split_inclusive('\n')
        .take_while(|line| line.starts_with('|'))
        .collect();
    let expected = table();
    if env::var_os(WRITE).is_some() {
        let after = &rest[documented.len()..];
        fs::write(&path, format!("{before}{HEADER}{expected}{after}")).unwrap();
        return;
    }
    assert_eq!(
        documented, expected,
        "run the test with {WRITE}=1, and commit services/EXPORT.md"
    );
}
