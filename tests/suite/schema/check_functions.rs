//! The functions that hold the rules of rows, against the CHECK constraints from before: each row that those refused is refused
//! under the same name, and no other. Rows are made from the limits and texts that the constraints name.

use std::collections::{BTreeMap, BTreeSet};

use anyhow::{Context, Result};
use haven_testkit::secrets::SUPERUSER;
use sqlx::{AssertSqlSafe, PgConnection};

use super::{
    empty,
    migrations::{unmigrated, up, versions},
};
use crate::rls;

/// The migrations that replaced the constraints. A rule that a later migration changes leaves [`Constraint::of_before`].
const REPLACED: [(&str, i64); 2] = [("identity", 20_261_129_001_310), ("data", 20_261_129_001_110)];

/// A token without an address: that of the seed has one, so another kind or time breaks the rule of addresses first.
const TOKEN: &str =
    "INSERT INTO identity.recovery_tokens (user_id, id, kind, token_hash, issued_at, expires_at)
    SELECT id, gen_random_uuid(), 'password_reset', sha256('reset'), now(), now() + interval '1 hour'
      FROM identity.users LIMIT 1";

/// A CHECK constraint from before.
#[derive(sqlx::FromRow)]
struct Constraint {
    relation: String,
    name: String,
    condition: String,
    columns: Vec<String>,
}

impl Constraint {
    /// Reads those of both schemas, in the order in which Postgres tries them.
    async fn of_before() -> Result<Vec<Self>> {
        let template = empty().await?;
        let database = unmigrated(&template).await?;
        for (schema, replaced) in REPLACED {
            let versions = versions(schema).await?.into_iter();
            let before = versions.filter(|version| *version < replaced).max();
            up(&database, schema, before.context("a migration before")?).await?;
        }
        let all = "SELECT conrelid::regclass::text AS relation, conname::text AS name, pg_get_expr(conbin, conrelid) AS condition,
                          ARRAY(SELECT attname::text FROM pg_attribute WHERE attrelid = conrelid AND attnum = ANY (conkey))
                              AS columns
                     FROM pg_constraint WHERE contype = 'c' AND connamespace IN ('identity'::regnamespace, 'data'::regnamespace)
                    ORDER BY relation, conname COLLATE \"C\"";
        let found = sqlx::query_as(all)
            .fetch_all(&mut database.connect(SUPERUSER).await?)
            .await?;
        template.drop_database(&database.name).await?;
        Ok(found)
    }
}

#[tokio::test]
async fn each_function_refuses_what_the_constraints_from_before_refused_under_the_same_name() -> Result<()> {
    let database = rls::seeded().await?;
    database.run(SUPERUSER, TOKEN).await?;
    let mut superuser = database.connect(SUPERUSER).await?;
    let mut tables: BTreeMap<String, Vec<Constraint>> = BTreeMap::new();
    for constraint in Constraint::of_before().await? {
        tables
            .entry(constraint.relation.clone())
            .or_default()
            .push(constraint);
    }
    let mut compared = 0;
    for (table, constraints) in tables {
        let calls = "SELECT pg_get_expr(conbin, conrelid) FROM pg_constraint
                      WHERE contype = 'c' AND conrelid = $1::regclass AND conname LIKE '%\\_rules' ORDER BY conname COLLATE \"C\"";
        let calls: Vec<String> = sqlx::query_scalar(calls)
            .bind(&table)
            .fetch_all(&mut superuser)
            .await?;
        if !calls.is_empty() {
            compare(&mut superuser, &table, &constraints, &calls).await?;
            compared += 1;
        }
    }
    assert!(compared >= 13, "{compared} tables with functions");
    Ok(())
}

/// Compares the constraints of `table` with the calls of its functions over rows in which one or two columns have each of their
/// values.
async fn compare(
    superuser: &mut PgConnection,
    table: &str,
    constraints: &[Constraint],
    calls: &[String],
) -> Result<()> {
    let (schema, name) = table.split_once('.').context("a qualified name")?;
    let calls: String = calls
        .iter()
        .map(|call| format!("ASSERT (SELECT {call} FROM (SELECT (r).*) AS one);\n"))
        .collect();
    let prepare = format!(
        "DROP TABLE IF EXISTS pg_temp.variants CASCADE;
         CREATE TEMPORARY TABLE variants AS SELECT * FROM {table} LIMIT 0;
         CREATE FUNCTION pg_temp.found(r pg_temp.variants) RETURNS text LANGUAGE plpgsql AS $$
         DECLARE
             of_schema text; of_table text; of_constraint text; message text;
         BEGIN
             {calls}
             RETURN NULL;
         EXCEPTION WHEN check_violation THEN
             GET STACKED DIAGNOSTICS of_schema = SCHEMA_NAME, of_table = TABLE_NAME, of_constraint = CONSTRAINT_NAME,
                 message = MESSAGE_TEXT;
             ASSERT of_schema = '{schema}' AND of_table = '{name}' AND message = format(
                 'new row for relation \"%s\" violates check constraint \"%s\"', of_table, of_constraint);
             RETURN of_constraint;
         END
         $$"
    );
    sqlx::raw_sql(AssertSqlSafe(prepare))
        .execute(&mut *superuser)
        .await?;
    let columns = "SELECT attname::text, format_type(atttypid, NULL) FROM pg_attribute
                    WHERE attrelid = $1::regclass AND attnum > 0 AND NOT attisdropped ORDER BY attnum";
    let columns: Vec<(String, String)> = sqlx::query_as(columns)
        .bind(table)
        .fetch_all(&mut *superuser)
        .await?;
    for insert in variants(table, constraints, &columns)? {
        sqlx::raw_sql(AssertSqlSafe(insert))
            .execute(&mut *superuser)
            .await?;
    }
    let branches: String = constraints
        .iter()
        .map(|one| format!(" WHEN NOT {} THEN '{}'", one.condition, one.name))
        .collect();
    let rows = format!(
        "SELECT CASE WHEN before IS DISTINCT FROM now THEN left(v::text, 400) END, before, now
           FROM (SELECT v, CASE{branches} END AS before, pg_temp.found(v) AS now FROM variants AS v OFFSET 0) AS judged"
    );
    let rows: Vec<(Option<String>, Option<String>, Option<String>)> =
        sqlx::query_as(AssertSqlSafe(rows)).fetch_all(superuser).await?;
    let different: Vec<String> = rows
        .iter()
        .filter_map(|(row, before, now)| Some(format!("{}: before {before:?}, now {now:?}", row.as_ref()?)))
        .take(5)
        .collect();
    assert!(different.is_empty(), "{table}:\n{}", different.join("\n"));
    let broken: BTreeSet<&str> = rows
        .iter()
        .filter_map(|(_, before, _)| before.as_deref())
        .collect();
    let all: BTreeSet<&str> = constraints.iter().map(|one| one.name.as_str()).collect();
    assert_eq!(broken, all, "{table}: rules that a row breaks, and all rules");
    assert!(
        rows.iter().any(|(_, before, _)| before.is_none()),
        "{table}: no row is admitted"
    );
    Ok(())
}

/// Returns statements that add rows: those of the table, with other values in one column, or in two of one constraint.
fn variants(table: &str, constraints: &[Constraint], columns: &[(String, String)]) -> Result<Vec<String>> {
    let mut sets: BTreeSet<Vec<&String>> = BTreeSet::new();
    for constraint in constraints {
        for first in &constraint.columns {
            sets.insert(vec![first]);
            sets.extend(
                constraint
                    .columns
                    .iter()
                    .filter(|second| *second > first)
                    .map(|second| vec![first, second]),
            );
        }
    }
    let mut statements = Vec::new();
    for set in sets {
        // All rows of the table for a single column, and one row for a pair.
        let (single, rows) = (set.len() == 1, if set.len() == 1 { "ALL" } else { "1" });
        let mut from = format!("(SELECT * FROM {table} LIMIT {rows}) AS t");
        for column in &set {
            let (_, kind) = columns
                .iter()
                .find(|(name, _)| name == *column)
                .context("a column")?;
            let values: Vec<String> = values(column, kind, constraints, single)
                .into_iter()
                .map(|value| format!("({value}::{kind})"))
                .collect();
            from.push_str(&format!(
                " CROSS JOIN (VALUES {}) AS v_{column} (v)",
                values.join(", ")
            ));
        }
        let selected: Vec<String> = columns
            .iter()
            .map(|(name, _)| match set.contains(&name) {
                true => format!("v_{name}.v"),
                false => format!("t.{name}"),
            })
            .collect();
        statements.push(format!(
            "INSERT INTO variants SELECT {} FROM {from}",
            selected.join(", ")
        ));
    }
    Ok(statements)
}

/// Returns values for a column in SQL: NULL, and what lies on both sides of each limit that the constraints name; of great length
/// if `long`.
fn values(column: &str, kind: &str, constraints: &[Constraint], long: bool) -> Vec<String> {
    let about: Vec<&str> = constraints
        .iter()
        .filter(|constraint| constraint.columns.iter().any(|name| name == column))
        .map(|constraint| constraint.condition.as_str())
        .collect();
    let texts: BTreeSet<String> = about
        .iter()
        .flat_map(|condition| {
            condition
                .replace("''", "’")
                .split('\'')
                .skip(1)
                .step_by(2)
                .map(str::to_owned)
                .collect::<Vec<_>>()
        })
        .map(|text| text.replace('’', "''"))
        .collect();
    let limits: BTreeSet<i64> = about
        .iter()
        .flat_map(|condition| condition.split(|character: char| !character.is_ascii_digit()))
        .filter_map(|digits| digits.parse().ok())
        .flat_map(|limit: i64| [limit - 1, limit, limit + 1])
        .collect();
    let longest = if long { 300_000 } else { 300 };
    let lengths = limits.iter().filter(|length| (0..=longest).contains(*length));
    let mut values = vec!["NULL".to_owned()];
    match kind {
        "smallint" | "integer" | "bigint" => {
            let most = if kind == "smallint" { 32_767 } else { i64::MAX };
            values.extend(
                limits
                    .iter()
                    .filter(|limit| **limit <= most)
                    .map(|limit| format!("({limit})")),
            );
        }
        "text" => {
            values.extend(
                lengths
                    .clone()
                    .filter(|length| **length <= 2_000)
                    .map(|length| format!("repeat('a', {length})")),
            );
            for text in &texts {
                for changed in [
                    text.clone(),
                    text.replace('%', ""),
                    format!("x{text}"),
                    text.to_uppercase(),
                ] {
                    values.push(format!("'{changed}'"));
                }
            }
            let hashes = [
                "$argon2id$v=19$m=1",
                "$2b",
                "$2b$",
                "x$2b$",
                "$$2b$",
                "$argon2$",
                "$wp$",
                "a$wp$",
                "m/0''/1",
                "A_B",
                "a_b1",
            ];
            values.extend(hashes.iter().map(|text| format!("'{text}'")));
        }
        "bytea" => {
            for length in lengths {
                // All above ASCII, and a text.
                values.push(format!("decode(repeat('ff', {length}), 'hex')"));
                values.push(format!("decode(repeat('61', {length}), 'hex')"));
            }
            // Backslashes before digits, with and without a byte above ASCII after them.
            for end in ["", "81", "5c81", "5c5c3281", "00", "7f"] {
                values.push(format!(
                    "decode(repeat('5c3200', 20) || '{end}' || repeat('5c33', 10), 'hex')"
                ));
            }
        }
        "timestamp with time zone" => {
            for offset in ["0", "-1 us", "1 us", "90 days", "90 days 1 us", "89 days"] {
                values.push(format!(
                    "(timestamptz '2026-11-22 12:00:00+00' + interval '{offset}')"
                ));
            }
        }
        "uuid" => values.extend(["a", "b"].map(|digit| format!("'{}'", digit.repeat(32)))),
        "text[]" => {
            values.extend(["'{}'".to_owned(), "'{other}'".to_owned()]);
            for text in texts.iter().filter(|text| !text.is_empty()) {
                for list in [
                    "{T}",
                    "{T,T}",
                    "{T,NULL}",
                    "{{T},{make_friends}}",
                    "{T,make_friends}",
                    "{T,other}",
                ] {
                    values.push(format!("'{}'", list.replace('T', text)));
                }
            }
        }
        "boolean" => values.extend(["true", "false"].map(str::to_owned)),
        "jsonb" => values.push("'{}'".to_owned()),
        _ => {}
    }
    values
}
