//! What ExportAccount and ExportData together have of a person: each column of both schemas, or a reason why not.
//!
//! `catalog.toml` has the decision for each column. Tests compare it with the database's catalog, with two real exports, and
//! with the table in `services/EXPORT.md`.

mod catalog;
mod decisions;
mod page;
mod rows;
mod scenario;
mod values;
