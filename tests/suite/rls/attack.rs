//! The statements that are tried on every relation.

use std::collections::BTreeMap;

use super::{caller::Caller, intent::Rights, relation::Relation};

/// A statement to try. Statements on the caller's own rows are the positive controls: where the role has the right,
/// they have to reach rows.
#[derive(Clone, Debug)]
pub(crate) enum Attack {
    Select,
    SelectWholeRow,
    SelectColumn(String),
    SelectForUpdate,
    CopyTo,
    UpdateOneself,
    UpdateOther,
    UpdateAll,
    UpdateColumn(String),
    Steal,
    GiveAway,
    /// Without WHERE: only the policy's WITH CHECK prevents it.
    GiveAwayAll,
    DeleteOneself,
    DeleteOther,
    DeleteAll,
    MergeDeleteOther,
    InsertAsOneself,
    InsertAsOther,
    InsertAsOtherReturning,
    OnConflictUpdateOneself,
    OnConflictUpdateOther,
    /// Blocks all other access to the table until the end of the transaction.
    Lock,
    /// A statement that no role may run, so that there is no right to declare.
    Forbidden(&'static str),
}

/// The statements that no runtime role may run on any relation.
const FORBIDDEN: [&str; 9] = [
    "TRUNCATE {relation}",
    "CREATE TRIGGER stray BEFORE UPDATE ON {relation} FOR EACH ROW \
     EXECUTE FUNCTION pg_catalog.suppress_redundant_updates_trigger()",
    "CREATE RULE stray AS ON DELETE TO {relation} DO INSTEAD NOTHING",
    "CREATE POLICY stray ON {relation} USING (true)",
    "ALTER TABLE {relation} DISABLE ROW LEVEL SECURITY",
    "ALTER TABLE {relation} NO FORCE ROW LEVEL SECURITY",
    "ALTER TABLE {relation} OWNER TO CURRENT_USER",
    "DROP TABLE {relation} CASCADE",
    "COPY {relation} FROM PROGRAM 'true'",
];

impl Attack {
    /// Returns the attacks that policies decide about: the rows that a permitted statement reaches.
    pub(crate) fn on_rows() -> Vec<Self> {
        vec![
            Self::Select,
            Self::SelectWholeRow,
            Self::SelectForUpdate,
            Self::CopyTo,
            Self::UpdateOneself,
            Self::UpdateOther,
            Self::UpdateAll,
            Self::Steal,
            Self::GiveAway,
            Self::GiveAwayAll,
            Self::DeleteOneself,
            Self::DeleteOther,
            Self::DeleteAll,
            Self::MergeDeleteOther,
            Self::InsertAsOneself,
            Self::InsertAsOther,
            Self::InsertAsOtherReturning,
            Self::OnConflictUpdateOneself,
            Self::OnConflictUpdateOther,
        ]
    }

    /// Returns everything to try on `relation` as `caller`.
    pub(crate) fn all(relation: &Relation, caller: Caller) -> Vec<Self> {
        let mut attacks = Self::on_rows();
        attacks.push(Self::Lock);
        attacks.extend(FORBIDDEN.map(Self::Forbidden));
        // Column privileges do not depend on the caller, so one caller is enough. Person A has one row in every table,
        // so that an update of a unique column keeps it unique.
        if caller == Caller::PersonA {
            attacks.extend(relation.columns.iter().cloned().map(Self::SelectColumn));
            attacks.extend(relation.columns.iter().cloned().map(Self::UpdateColumn));
        }
        attacks
    }

    /// Returns the column that a plain update sets: a column that the role may update, if there is one.
    pub(crate) fn updated_column<'a>(relation: &'a Relation, rights: &Rights) -> &'a str {
        let plain = || relation.columns.iter().filter(|column| relation.is_plain(column));
        let chosen = plain()
            .find(|column| rights.may_update(column))
            .or_else(|| plain().next());
        chosen.map_or(&relation.person, String::as_str)
    }

    /// Returns the SQL text of the statement.
    pub(crate) fn sql(&self, relation: &Relation, rights: &Rights, caller: Caller) -> String {
        let (name, person) = (&relation.name, &relation.person);
        let (oneself, other) = (caller.oneself(), caller.other());
        let is = |of: &str| format!("{person} = {}", relation.value(of, person));
        let column = Self::updated_column(relation, rights);
        let set = |column: &str, of: &str| format!("{column} = {}", relation.value(of, column));
        match self {
            Self::Select => format!("SELECT {person}::text FROM {name}"),
            Self::SelectWholeRow => format!("SELECT (r.*)::text FROM {name} r"),
            Self::SelectColumn(column) => format!("SELECT {column}::text FROM {name}"),
            Self::SelectForUpdate => format!("SELECT {person}::text FROM {name} FOR UPDATE"),
            // COPY of a view needs its query form.
            Self::CopyTo if relation.is_view => format!("COPY (SELECT {person} FROM {name}) TO STDOUT"),
            Self::CopyTo => format!("COPY {name} ({person}) TO STDOUT"),
            Self::UpdateOneself => {
                format!("UPDATE {name} SET {} WHERE {}", set(column, oneself), is(oneself))
            }
            Self::UpdateOther => format!("UPDATE {name} SET {} WHERE {}", set(column, other), is(other)),
            Self::UpdateAll => format!("UPDATE {name} SET {}", set(column, oneself)),
            Self::UpdateColumn(column) => {
                format!("UPDATE {name} SET {} WHERE {}", set(column, oneself), is(oneself))
            }
            Self::Steal => format!("UPDATE {name} SET {} WHERE {}", set(person, oneself), is(other)),
            Self::GiveAway => format!("UPDATE {name} SET {} WHERE {}", set(person, other), is(oneself)),
            Self::GiveAwayAll => format!("UPDATE {name} SET {}", set(person, other)),
            Self::DeleteOneself => format!("DELETE FROM {name} WHERE {}", is(oneself)),
            Self::DeleteOther => format!("DELETE FROM {name} WHERE {}", is(other)),
            Self::DeleteAll => format!("DELETE FROM {name}"),
            Self::MergeDeleteOther => {
                format!(
                    "MERGE INTO {name} USING (SELECT) AS one ON {} WHEN MATCHED THEN DELETE",
                    is(other)
                )
            }
            Self::InsertAsOneself => insert(name, with(relation.fresh_row(oneself), rights)),
            Self::InsertAsOther => insert(name, with(relation.fresh_row(other), rights)),
            Self::InsertAsOtherReturning => {
                format!(
                    "{} RETURNING {person}::text",
                    insert(name, with(relation.fresh_row(other), rights))
                )
            }
            Self::OnConflictUpdateOneself => upsert(relation, with(relation.row(oneself), rights), column),
            Self::OnConflictUpdateOther => upsert(relation, with(relation.row(other), rights), column),
            Self::Lock => format!("LOCK TABLE {name} IN ACCESS EXCLUSIVE MODE"),
            Self::Forbidden(statement) => statement.replace("{relation}", name),
        }
    }
}

/// Replaces the columns for which the role's rights require a value.
fn with(mut row: BTreeMap<String, String>, rights: &Rights) -> BTreeMap<String, String> {
    row.extend(
        rights
            .with
            .iter()
            .map(|(column, value)| (column.clone(), format!("'{value}'"))),
    );
    row
}

fn insert(name: &str, row: BTreeMap<String, String>) -> String {
    let (columns, values): (Vec<String>, Vec<String>) = row.into_iter().unzip();
    format!(
        "INSERT INTO {name} ({}) VALUES ({})",
        columns.join(", "),
        values.join(", ")
    )
}

fn upsert(relation: &Relation, row: BTreeMap<String, String>, column: &str) -> String {
    // A view has no key; the key of its table begins with the person's column.
    let key = if relation.key.is_empty() {
        relation.person.clone()
    } else {
        relation.key.join(", ")
    };
    let insert = insert(&relation.name, row);
    format!("{insert} ON CONFLICT ({key}) DO UPDATE SET {column} = excluded.{column}")
}
