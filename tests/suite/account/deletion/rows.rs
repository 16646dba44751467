//! Rows that belong to a person, or mention them, in all tables of both schemas. The catalog lists the tables.

use std::collections::BTreeMap;

use haven_proto::identity::v1::Deletion;
use haven_testkit::{Person, Stack};
use sqlx::{AssertSqlSafe, PgConnection};

/// Numbers of rows, by qualified table name.
pub(crate) type Rows = BTreeMap<String, i64>;

/// Counts the rows of each table that belong to the person: the counts that a receipt has to report.
pub(crate) async fn owned(stack: &Stack, person: &Person) -> Rows {
    let mut database = stack.database.connect("postgres").await.unwrap();
    let mut rows = Rows::new();
    for (table, column) in tables(&mut database).await {
        let Some(column) = column else { continue };
        let sql = format!("SELECT count(*) FROM {table} WHERE {column} = $1");
        let count: i64 = sqlx::query_scalar(AssertSqlSafe(sql))
            .bind(person.id)
            .fetch_one(&mut database)
            .await
            .unwrap();
        rows.insert(table, count);
    }
    rows
}

/// Returns the counts that the receipt of a deletion reports.
pub(crate) fn receipt(deletion: &Deletion) -> Rows {
    let rows = deletion.erased.iter();
    rows.map(|erased| (erased.table.clone(), erased.rows)).collect()
}

/// Returns the tables with a row that contains the person's id or email address, in any column, as text or as bytes.
pub(crate) async fn traces(stack: &Stack, person: &Person) -> Vec<String> {
    let hex = |bytes: &[u8]| bytes.iter().map(|byte| format!("{byte:02x}")).collect::<String>();
    let needles = [
        person.id.to_string(),
        person.email.clone(),
        hex(person.id.as_bytes()),
        hex(person.email.as_bytes()),
    ];
    let patterns = needles.map(|needle| format!("%{needle}%"));
    let mut database = stack.database.connect("postgres").await.unwrap();
    let mut found = Vec::new();
    for (table, _) in tables(&mut database).await {
        let sql = format!("SELECT EXISTS (SELECT FROM {table} AS r WHERE r::text ILIKE ANY ($1))");
        let here: bool = sqlx::query_scalar(AssertSqlSafe(sql))
            .bind(&patterns[..])
            .fetch_one(&mut database)
            .await
            .unwrap();
        if here {
            found.push(table);
        }
    }
    found
}

/// Returns every table of both schemas, and its column that holds the person's id, if any.
async fn tables(database: &mut PgConnection) -> Vec<(String, Option<String>)> {
    sqlx::query_as(
        "SELECT format('%I.%I', n.nspname, c.relname),
                CASE WHEN c.relname = 'users' THEN 'id' ELSE a.attname::text END
         FROM pg_class AS c
             JOIN pg_namespace AS n ON n.oid = c.relnamespace
             LEFT JOIN pg_attribute AS a ON a.attrelid = c.oid AND a.attname = 'user_id'
         WHERE n.nspname IN ('identity', 'data') AND c.relkind IN ('r', 'p')
         ORDER BY 1",
    )
    .fetch_all(database)
    .await
    .unwrap()
}
