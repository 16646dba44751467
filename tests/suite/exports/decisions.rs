//! The decisions about tables and columns, from `catalog.toml`.

use std::collections::BTreeMap;

use serde::Deserialize;

/// The whole content of `catalog.toml`.
#[derive(Deserialize)]
#[serde(deny_unknown_fields)]
pub(super) struct Decisions {
    /// The tables by qualified name.
    pub(super) tables: BTreeMap<String, Table>,
}

/// The decisions about one table.
#[derive(Deserialize)]
#[serde(deny_unknown_fields)]
pub(super) struct Table {
    /// The reason why nothing in the table is about a person. `None` for a table with rows of people.
    pub(super) without_people: Option<String>,
    /// The field of the response that has the table's rows. `None` for a table that is not exported.
    pub(super) message: Option<String>,
    /// The exported columns.
    #[serde(default)]
    pub(super) exported: BTreeMap<String, Exported>,
    /// The columns that are not exported, by the reason.
    #[serde(default)]
    pub(super) not_exported: BTreeMap<String, Vec<String>>,
}

/// The field that has the value of a column.
#[derive(Deserialize)]
#[serde(untagged)]
pub(super) enum Exported {
    /// A path of field names below the message of the row.
    As(String),
    /// A path, and how the value differs from the column's.
    Otherwise(Field),
}

/// A field whose value differs from that of its column.
#[derive(Deserialize)]
#[serde(deny_unknown_fields)]
pub(super) struct Field {
    /// The path of field names below the message of the row.
    field: String,
    /// The values of the field, by those of the column as text.
    #[serde(default)]
    pub(super) values: BTreeMap<String, String>,
    /// True when the server encrypts the column, and the export opens it.
    #[serde(default)]
    pub(super) sealed: bool,
}

impl Decisions {
    /// Reads the decisions.
    pub(super) fn read() -> Self {
        toml::from_str(include_str!("catalog.toml")).expect("catalog.toml has the fields of `Decisions`")
    }

    /// Returns the tables with exported columns, with the name of the response's field.
    pub(super) fn exported(&self, schema: &str) -> impl Iterator<Item = (&str, &str, &Table)> {
        let prefix = format!("{schema}.");
        let tables = self
            .tables
            .iter()
            .filter(move |(name, _)| name.starts_with(&prefix));
        tables.filter_map(|(name, table)| Some((name.as_str(), table.message.as_deref()?, table)))
    }
}

impl Table {
    /// Returns the columns that have a decision, in no order. A column with two decisions is there twice.
    pub(super) fn columns(&self) -> Vec<&str> {
        let exported = self.exported.keys();
        let left_out = self.not_exported.values().flatten();
        exported.chain(left_out).map(String::as_str).collect()
    }
}

impl Exported {
    /// Returns the path of field names.
    pub(super) fn path(&self) -> &str {
        match self {
            Self::As(path) => path,
            Self::Otherwise(field) => &field.field,
        }
    }
}
