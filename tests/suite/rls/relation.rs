//! The tables and views in the catalog, and the rows that were seeded into them.

use std::collections::{BTreeMap, BTreeSet};

use anyhow::{Context, Result, ensure};
use sqlx::{AssertSqlSafe, PgConnection, Row};

use super::{
    caller::{A, B},
    intent::RelationIntent,
};

/// Selects every relation that belongs neither to the server nor to an extension.
const RELATIONS: &str = "
    SELECT format('%I.%I', n.nspname, c.relname) AS name, c.relkind = 'v' AS is_view,
           array(SELECT attname::text FROM pg_attribute
                  WHERE attrelid = c.oid AND attnum > 0 AND NOT attisdropped AND attgenerated = '' ORDER BY attnum) AS columns,
           array(SELECT attname::text FROM pg_attribute JOIN pg_index ON indrelid = attrelid
                  WHERE attrelid = c.oid AND indisprimary AND attnum = ANY (indkey) ORDER BY attnum) AS key,
           array(SELECT attname::text FROM pg_attribute JOIN pg_index ON indrelid = attrelid
                  WHERE attrelid = c.oid AND indisunique AND attnum = ANY (indkey)) AS unique_columns,
           EXISTS (SELECT FROM pg_constraint f JOIN pg_constraint k ON k.conrelid = f.conrelid AND k.contype = 'p'
                    WHERE f.conrelid = c.oid AND f.contype = 'f' AND f.conkey @> k.conkey) AS key_refers
      FROM pg_class c JOIN pg_namespace n ON n.oid = c.relnamespace
     WHERE c.relkind IN ('r', 'p', 'v', 'm', 'f')
       AND n.nspname NOT IN ('pg_catalog', 'information_schema') AND n.nspname !~ '^pg_(toast|temp)'
       AND NOT EXISTS (SELECT FROM pg_depend WHERE classid = 'pg_class'::regclass AND objid = c.oid AND deptype = 'e')
     ORDER BY 1";

/// A table or view, with everything that statements on it are built from.
pub(crate) struct Relation {
    /// The name, qualified by the schema.
    pub(crate) name: String,
    pub(crate) is_view: bool,
    /// The columns that can be written: generated ones are left out.
    pub(crate) columns: Vec<String>,
    pub(crate) key: Vec<String>,
    /// The columns of unique indexes, including the primary key.
    unique_columns: BTreeSet<String>,
    /// The column with the id of a row's person; any column in a table without people's rows.
    pub(crate) person: String,
    /// A row of each person, as SQL literals by column.
    rows: BTreeMap<&'static str, BTreeMap<String, String>>,
    /// `true` when the whole key references another table, so that there is at most one row for each row of that table.
    key_refers: bool,
    /// `true` when rows belong to people.
    pub(crate) owned: bool,
    /// The number of rows of each person. In a table without people's rows, all are counted as the first person's.
    counts: BTreeMap<&'static str, u64>,
}

impl Relation {
    /// Returns the names of all relations.
    pub(crate) async fn names(superuser: &mut PgConnection) -> Result<BTreeSet<String>> {
        let rows = sqlx::query(RELATIONS).fetch_all(superuser).await?;
        Ok(rows.iter().map(|row| row.get("name")).collect())
    }

    /// Reads every relation, with the seeded rows.
    pub(crate) async fn read_all(
        superuser: &mut PgConnection,
        intents: &BTreeMap<String, RelationIntent>,
    ) -> Result<Vec<Self>> {
        let mut relations = Vec::new();
        for row in sqlx::query(RELATIONS).fetch_all(&mut *superuser).await? {
            let name: String = row.get("name");
            let columns: Vec<String> = row.get("columns");
            let intent = intents
                .get(&name)
                .with_context(|| format!("{name} is not in intent.toml"))?;
            let mut relation = Self {
                name,
                is_view: row.get("is_view"),
                person: intent.person.clone().unwrap_or_else(|| columns[0].clone()),
                key: row.get("key"),
                unique_columns: row.get::<Vec<String>, _>("unique_columns").into_iter().collect(),
                key_refers: row.get("key_refers"),
                columns,
                owned: intent.person.is_some(),
                rows: BTreeMap::new(),
                counts: BTreeMap::new(),
            };
            for person in [A, B] {
                relation.read_rows(superuser, person).await?;
            }
            relations.push(relation);
        }
        Ok(relations)
    }

    /// Returns the number of rows of `person`.
    pub(crate) fn count(&self, person: &str) -> u64 {
        self.counts.get(person).copied().unwrap_or_default()
    }

    /// Returns the SQL literal in one column of a row of `person`.
    pub(crate) fn value(&self, person: &str, column: &str) -> &str {
        &self.rows[person][column]
    }

    /// Returns an existing row of `person`, as SQL literals by column.
    pub(crate) fn row(&self, person: &str) -> BTreeMap<String, String> {
        self.rows[person].clone()
    }

    /// Returns a new row of `person`: columns of unique indexes, except the person, have new values. When the key
    /// references another row, it is the existing row.
    pub(crate) fn fresh_row(&self, person: &str) -> BTreeMap<String, String> {
        let mut row = self.row(person);
        if self.key_refers {
            return row;
        }
        for column in self
            .unique_columns
            .iter()
            .filter(|column| **column != self.person)
        {
            let value = &row[column];
            let fresh = match value.rsplit_once("::") {
                Some((_, "uuid")) => "gen_random_uuid()".to_owned(),
                Some((_, "bytea")) => "sha256(gen_random_uuid()::text::bytea)".to_owned(),
                Some((_, "text")) => format!("'fresh' || {value}"),
                _ => format!("1000000 + {value}"),
            };
            row.insert(column.clone(), fresh);
        }
        row
    }

    /// Returns `true` when a further row violates the key: a person can have only one row, or one for each row of
    /// another table.
    pub(crate) fn is_single(&self) -> bool {
        self.key.len() == 1 || self.key_refers
    }

    /// Returns `true` for a table with a single row that belongs to no person.
    pub(crate) fn is_one_row(&self) -> bool {
        !self.owned && self.count(A) == 1
    }

    /// Returns `true` when an update may set the column to the same value in every row.
    pub(crate) fn is_plain(&self, column: &str) -> bool {
        column != self.person && !self.unique_columns.contains(column)
    }

    /// Reads the rows of `person`: their number, and the first one.
    async fn read_rows(&mut self, superuser: &mut PgConnection, person: &'static str) -> Result<()> {
        let literals = self.columns.iter().map(|column| {
            // Each literal has its type's name, because `||` and `+` do not accept untyped literals.
            format!(r#"quote_nullable("{column}"::text) || '::' || pg_typeof("{column}")::text"#)
        });
        let of = if self.owned {
            format!(r#"WHERE "{}"::text = '{person}'"#, self.person)
        } else {
            String::new()
        };
        let sql = format!(
            "SELECT array[{}] FROM {} {of}",
            literals.collect::<Vec<_>>().join(", "),
            self.name
        );
        let rows: Vec<Vec<String>> = sqlx::query_scalar(AssertSqlSafe(sql))
            .fetch_all(superuser)
            .await?;
        ensure!(
            !rows.is_empty(),
            "{} has no row of {person}: attempts on it prove nothing",
            self.name
        );
        let count = if self.owned || person == A { rows.len() } else { 0 };
        self.counts.insert(person, count as u64);
        self.rows.insert(
            person,
            self.columns.iter().cloned().zip(rows[0].clone()).collect(),
        );
        Ok(())
    }
}
