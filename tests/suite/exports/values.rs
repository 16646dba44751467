//! The values of the columns against those in the exports.

use std::collections::BTreeSet;

use base64::prelude::{BASE64_STANDARD, Engine};
use chrono::DateTime;
use haven_testkit::Stack;
use serde_json::{Map, Value};

use super::{
    decisions::{Decisions, Exported, Table},
    rows::Rows,
    scenario::{Exports, SEALED_TEXTS},
};

#[tokio::test]
async fn each_exported_column_of_each_row_is_in_the_export_with_its_value() {
    let stack = Stack::start().await.unwrap();
    let exports = Exports::of_everything(&stack).await;
    let decisions = Decisions::read();
    let (mut problems, mut compared) = (Vec::new(), 0);
    for schema in ["identity", "data"] {
        let export = exports.of(schema);
        for (name, message, table) in decisions.exported(schema) {
            let stored = Rows::read(&stack, name, &exports.person).await;
            let messages = messages(export, message);
            if stored.rows.is_empty() || stored.rows.len() != messages.len() {
                let (rows, found) = (stored.rows.len(), messages.len());
                problems.push(format!("{name} has {rows} rows, and {found} in the export"));
            }
            for row in &stored.rows {
                compared += table.exported.len();
                problems.extend(
                    missing(table, &stored, row, &messages).map(|columns| format!("{name}: {columns}")),
                );
            }
            // A column that is empty in each row would agree with a field that is never set.
            for column in table.exported.keys() {
                if stored.rows.iter().all(|row| is_empty(&row[column])) {
                    problems.push(format!(
                        "no row has a value in {name}.{column}: set one in values.sql"
                    ));
                }
            }
        }
    }
    assert!(problems.is_empty(), "{}", problems.join("\n"));
    eprintln!("{compared} values compared");
    hashes_are_left_out(&stack, &exports, &decisions).await;
}

/// Returns the messages of one table's rows.
fn messages<'a>(export: &'a Value, field: &str) -> Vec<&'a Value> {
    match &export[field] {
        Value::Array(messages) => messages.iter().collect(),
        Value::Null => Vec::new(),
        message => vec![message],
    }
}

/// Returns the columns of `row` that differ from the most similar message. `None` when a message has all of them.
fn missing(table: &Table, stored: &Rows, row: &Map<String, Value>, messages: &[&Value]) -> Option<String> {
    let differing = messages.iter().map(|message| {
        let columns = table.exported.iter();
        let columns = columns.filter_map(|(column, exported)| {
            let field = find(message, exported.path());
            let same = same(&stored.types[column], &row[column], &field, exported);
            (!same).then(|| format!("{column} is {}, and {} is {field}", row[column], exported.path()))
        });
        columns.collect::<Vec<_>>()
    });
    let fewest = differing.min_by_key(Vec::len)?;
    (!fewest.is_empty()).then(|| fewest.join("; "))
}

/// Returns the field at `path`; of each element where a field is repeated. Null when a message on the way is unset.
fn find(message: &Value, path: &str) -> Value {
    let Some((first, rest)) = path.split_once('.') else {
        return match message {
            Value::Array(elements) => elements.iter().map(|element| element[path].clone()).collect(),
            message => message[path].clone(),
        };
    };
    find(&message[first], rest)
}

/// Returns whether `value`, of a column of the type `of_type`, is the exported `field`.
fn same(of_type: &str, value: &Value, field: &Value, exported: &Exported) -> bool {
    if let Exported::Otherwise(otherwise) = exported {
        if otherwise.sealed {
            let opened = field.to_string();
            return SEALED_TEXTS.iter().any(|text| opened.contains(text));
        }
        return otherwise.values.get(&text(value)) == Some(&text(field));
    }
    match (of_type, value) {
        (_, Value::Null) => is_empty(field) || text(field).ends_with("_UNSPECIFIED"),
        ("timestamp with time zone", value) => time(value).is_some() && time(value) == time(field),
        ("bytea", value) => {
            let bytes = BASE64_STANDARD.decode(text(field)).unwrap_or_default();
            let hex: String = bytes.iter().map(|byte| format!("{byte:02x}")).collect();
            text(value) == format!("\\x{hex}")
        }
        (_, Value::Array(elements)) => {
            let fields = field.as_array().map(Vec::as_slice).unwrap_or_default();
            elements.len() == fields.len()
                && elements
                    .iter()
                    .all(|element| fields.iter().any(|field| is_named(element, field)))
        }
        (_, value) => is_named(value, field),
    }
}

/// Returns whether `field` is `value`, or the value of an enum that is stored as `value`.
fn is_named(value: &Value, field: &Value) -> bool {
    let (value, field) = (text(value), text(field));
    value == field || field.ends_with(&format!("_{}", value.to_uppercase()))
}

/// Returns whether a field or column has no value, or one that says nothing: zero, false or empty.
fn is_empty(value: &Value) -> bool {
    match value {
        Value::Null | Value::Bool(false) => true,
        Value::Array(elements) => elements.is_empty(),
        value => ["", "0", "\\x"].contains(&text(value).as_str()),
    }
}

/// Returns a scalar as text, without quotes.
fn text(value: &Value) -> String {
    match value {
        Value::String(text) => text.clone(),
        other => other.to_string(),
    }
}

/// Returns a time in microseconds.
fn time(value: &Value) -> Option<i64> {
    let time = DateTime::parse_from_rfc3339(value.as_str()?).ok()?;
    Some(time.timestamp_micros())
}

/// Asserts that no hash, digest or MAC that is stored of the person is anywhere in the exports.
async fn hashes_are_left_out(stack: &Stack, exports: &Exports, decisions: &Decisions) {
    let exported = format!("{}{}", exports.identity, exports.data);
    let mut secrets = BTreeSet::new();
    for (name, table) in &decisions.tables {
        let hashes: Vec<_> = table.not_exported.values().flatten().collect();
        if table.without_people.is_some() || hashes.is_empty() {
            continue;
        }
        for row in Rows::read(stack, name, &exports.person).await.rows {
            for column in &hashes {
                if ["hash", "mac", "digest"].iter().any(|kind| column.contains(kind)) {
                    secrets.insert(text(&row[column.as_str()]));
                }
            }
        }
    }
    secrets.remove("null");
    assert!(secrets.len() > 10, "{} secrets", secrets.len());
    for secret in secrets {
        let bytes: Option<Vec<u8>> = secret.strip_prefix("\\x").map(|hex| {
            let digits = hex.as_bytes().chunks(2);
            digits
                .map(|pair| u8::from_str_radix(str::from_utf8(pair).unwrap(), 16).unwrap())
                .collect()
        });
        let encoded = bytes.map_or(secret.clone(), |bytes| {
            BASE64_STANDARD.encode(&bytes[..bytes.len().min(30)])
        });
        assert!(!exported.contains(&encoded), "a hash is exported: {encoded}");
    }
}
