//! The tables and views that there are, as the catalog knows them, and the rows that were seeded into them.

use std::collections::{BTreeMap, BTreeSet};

use anyhow::{Context, Result, ensure};
use sqlx::{AssertSqlSafe, PgConnection, Row};

use super::{
    caller::{A, B},
    intent::RelationIntent,
};

/// Every relation of ours: not the server's, and not an extension's.
const RELATIONS: &str = "
    SELECT format('%I.%I', n.nspname, c.relname) AS name, c.relkind = 'v' AS is_view,
           array(SELECT attname::text FROM pg_attribute
                  WHERE attrelid = c.oid AND attnum > 0 AND NOT attisdropped ORDER BY attnum) AS columns,
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

/// A table or view, with what an attack on it is made of.
pub(crate) struct Relation {
    /// Qualified.
    pub(crate) name: String,
    pub(crate) is_view: bool,
    pub(crate) columns: Vec<String>,
    pub(crate) key: Vec<String>,
    /// Columns of a unique index, the key's included.
    unique_columns: BTreeSet<String>,
    /// The column that says whose a row is; any column where no row is anybody's.
    pub(crate) person: String,
    /// One row of each person, as SQL literals by column.
    rows: BTreeMap<&'static str, BTreeMap<String, String>>,
    /// Whether the whole key refers to another table's row: there is one for each of those.
    key_refers: bool,
    /// Whether a row is anybody's.
    pub(crate) owned: bool,
    /// How many rows each person has. Where no row is anybody's, all are counted as the first person's.
    counts: BTreeMap<&'static str, u64>,
}

impl Relation {
    /// Everything in the database that holds rows.
    pub(crate) async fn names(superuser: &mut PgConnection) -> Result<BTreeSet<String>> {
        let rows = sqlx::query(RELATIONS).fetch_all(superuser).await?;
        Ok(rows.iter().map(|row| row.get("name")).collect())
    }

    /// Describes every relation of the catalog.
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

    /// How many rows `person` has.
    pub(crate) fn count(&self, person: &str) -> u64 {
        self.counts.get(person).copied().unwrap_or_default()
    }

    /// The literal in one column of a row of `person`.
    pub(crate) fn value(&self, person: &str, column: &str) -> &str {
        &self.rows[person][column]
    }

    /// A row of `person` as it is.
    pub(crate) fn row(&self, person: &str) -> BTreeMap<String, String> {
        self.rows[person].clone()
    }

    /// A row of `person` that is not there yet: what has to be unique is new, but for the person. Where a key refers to
    /// another row it is the row that is there.
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

    /// Whether another row collides with the one that is there: a person can have only one, or one for each row of
    /// another table.
    pub(crate) fn is_single(&self) -> bool {
        self.key.len() == 1 || self.key_refers
    }

    /// Whether there is one row in all, and it is nobody's.
    pub(crate) fn is_one_row(&self) -> bool {
        !self.owned && self.count(A) == 1
    }

    /// Whether an update may set the column to the same value in every row.
    pub(crate) fn is_plain(&self, column: &str) -> bool {
        column != self.person && !self.unique_columns.contains(column)
    }

    async fn read_rows(&mut self, superuser: &mut PgConnection, person: &'static str) -> Result<()> {
        let literals = self.columns.iter().map(|column| {
            // The type's name goes along: an untyped literal is not what `||` and `+` take.
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
            "{} has no row of {person}: nothing that is tried on it means anything",
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
