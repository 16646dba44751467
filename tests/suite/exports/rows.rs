//! The rows of a person in a table, as the superuser reads them.

use std::collections::BTreeMap;

use haven_testkit::{Person, Stack};
use serde_json::{Map, Value};
use sqlx::{AssertSqlSafe, types::Json};

/// The rows of one table.
pub(super) struct Rows {
    /// The type of each column.
    pub(super) types: BTreeMap<String, String>,
    /// The rows as JSON objects.
    pub(super) rows: Vec<Map<String, Value>>,
}

impl Rows {
    /// Reads the rows of `person` in `table`.
    pub(super) async fn read(stack: &Stack, table: &str, person: &Person) -> Self {
        let mut superuser = stack.database.connect("postgres").await.unwrap();
        let types: Vec<(String, String)> = sqlx::query_as(
            "SELECT attname::text, format_type(atttypid, NULL) FROM pg_attribute
             WHERE attrelid = $1::regclass AND attnum > 0 AND NOT attisdropped",
        )
        .bind(table)
        .fetch_all(&mut superuser)
        .await
        .unwrap();
        let person_column = match table.ends_with(".users") {
            true => "id",
            false => "user_id",
        };
        let sql = format!("SELECT to_jsonb(t) FROM {table} AS t WHERE {person_column} = $1");
        let rows: Vec<Json<Map<String, Value>>> = sqlx::query_scalar(AssertSqlSafe(sql))
            .bind(person.id)
            .fetch_all(&mut superuser)
            .await
            .unwrap();
        Self {
            types: types.into_iter().collect(),
            rows: rows.into_iter().map(|row| row.0).collect(),
        }
    }
}
