//! What is tried on every relation, and the SQL of it.

use std::collections::BTreeMap;

use super::{caller::Caller, intent::Rights, relation::Relation};

/// One thing to try. Those on oneself are the positive controls: they have to reach rows where the role may.
#[derive(Clone, Debug)]
pub(crate) enum Attack {
    Select,
    SelectWholeRow,
    SelectColumn(String),
    SelectForUpdate,
    CopyTo,
    UpdateOneself,
    UpdateOther,
    UpdateEverybody,
    UpdateColumn(String),
    Steal,
    GiveAway,
    /// Without WHERE: nothing but the policy's WITH CHECK stands in its way.
    GiveAwayEverything,
    DeleteOneself,
    DeleteOther,
    DeleteEverybody,
    MergeDeleteOther,
    InsertAsOneself,
    InsertAsOther,
    InsertAsOtherReturning,
    OnConflictUpdateOneself,
    OnConflictUpdateOther,
    /// Shuts everybody else out of the table for as long as the transaction lasts.
    Lock,
    /// A statement that is never anybody's right, so that there is nothing to declare.
    Forbidden(&'static str),
}

/// What no runtime role may do to any relation.
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
    /// What policies decide about: which rows a statement reaches that the role may run.
    pub(crate) fn on_rows() -> Vec<Self> {
        vec![
            Self::Select,
            Self::SelectWholeRow,
            Self::SelectForUpdate,
            Self::CopyTo,
            Self::UpdateOneself,
            Self::UpdateOther,
            Self::UpdateEverybody,
            Self::Steal,
            Self::GiveAway,
            Self::GiveAwayEverything,
            Self::DeleteOneself,
            Self::DeleteOther,
            Self::DeleteEverybody,
            Self::MergeDeleteOther,
            Self::InsertAsOneself,
            Self::InsertAsOther,
            Self::InsertAsOtherReturning,
            Self::OnConflictUpdateOneself,
            Self::OnConflictUpdateOther,
        ]
    }

    /// Everything to try on `relation` as `caller`.
    pub(crate) fn all(relation: &Relation, caller: Caller) -> Vec<Self> {
        let mut attacks = Self::on_rows();
        attacks.push(Self::Lock);
        attacks.extend(FORBIDDEN.map(Self::Forbidden));
        // Column privileges know no caller: one is enough to try them. Person A has one row everywhere, which
        // an update of a unique column leaves unique.
        if caller == Caller::PersonA {
            attacks.extend(relation.columns.iter().cloned().map(Self::SelectColumn));
            attacks.extend(relation.columns.iter().cloned().map(Self::UpdateColumn));
        }
        attacks
    }

    /// The column that a plain update sets: one that the role may set, where there is one.
    pub(crate) fn updated_column<'a>(relation: &'a Relation, rights: &Rights) -> &'a str {
        let plain = || relation.columns.iter().filter(|column| relation.is_plain(column));
        let chosen = plain()
            .find(|column| rights.may_update(column))
            .or_else(|| plain().next());
        chosen.map_or(&relation.person, String::as_str)
    }

    /// The statement.
    pub(crate) fn sql(&self, relation: &Relation, rights: &Rights, caller: Caller) -> String {
        let (name, person) = (&relation.name, &relation.person);
        let (oneself, other) = (caller.oneself(), caller.other());
        let is = |whom: &str| format!("{person} = {}", relation.value(whom, person));
        let column = Self::updated_column(relation, rights);
        let set = |column: &str, whom: &str| format!("{column} = {}", relation.value(whom, column));
        match self {
            Self::Select => format!("SELECT {person}::text FROM {name}"),
            Self::SelectWholeRow => format!("SELECT (r.*)::text FROM {name} r"),
            Self::SelectColumn(column) => format!("SELECT {column}::text FROM {name}"),
            Self::SelectForUpdate => format!("SELECT {person}::text FROM {name} FOR UPDATE"),
            // COPY takes no view; its query form takes everything.
            Self::CopyTo if relation.is_view => format!("COPY (SELECT {person} FROM {name}) TO STDOUT"),
            Self::CopyTo => format!("COPY {name} ({person}) TO STDOUT"),
            Self::UpdateOneself => {
                format!("UPDATE {name} SET {} WHERE {}", set(column, oneself), is(oneself))
            }
            Self::UpdateOther => format!("UPDATE {name} SET {} WHERE {}", set(column, other), is(other)),
            Self::UpdateEverybody => format!("UPDATE {name} SET {}", set(column, oneself)),
            Self::UpdateColumn(column) => {
                format!("UPDATE {name} SET {} WHERE {}", set(column, oneself), is(oneself))
            }
            Self::Steal => format!("UPDATE {name} SET {} WHERE {}", set(person, oneself), is(other)),
            Self::GiveAway => format!("UPDATE {name} SET {} WHERE {}", set(person, other), is(oneself)),
            Self::GiveAwayEverything => format!("UPDATE {name} SET {}", set(person, other)),
            Self::DeleteOneself => format!("DELETE FROM {name} WHERE {}", is(oneself)),
            Self::DeleteOther => format!("DELETE FROM {name} WHERE {}", is(other)),
            Self::DeleteEverybody => format!("DELETE FROM {name}"),
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
    // A view has no key of its own; its table's has the same columns first.
    let key = if relation.key.is_empty() {
        relation.person.clone()
    } else {
        relation.key.join(", ")
    };
    let insert = insert(&relation.name, row);
    format!("{insert} ON CONFLICT ({key}) DO UPDATE SET {column} = excluded.{column}")
}
