//! The declared rights of the roles, from `intent.toml`.

use std::collections::{BTreeMap, BTreeSet};

use serde::Deserialize;

/// The whole content of `intent.toml`.
#[derive(Deserialize)]
#[serde(deny_unknown_fields)]
pub(crate) struct Intent {
    /// The logins, each with the roles that it may become.
    pub(crate) logins: BTreeMap<String, BTreeSet<String>>,
    pub(crate) roles: Roles,
    /// Functions by signature, each with the roles that may execute it.
    pub(crate) functions: BTreeMap<String, BTreeSet<String>>,
    /// Tables and views by qualified name.
    pub(crate) relations: BTreeMap<String, RelationIntent>,
}

#[derive(Deserialize)]
#[serde(deny_unknown_fields)]
pub(crate) struct Roles {
    /// Roles that are not tried, because they own the objects that the others use.
    pub(crate) outside: BTreeSet<String>,
}

/// The declaration of one table or view.
#[derive(Deserialize)]
#[serde(deny_unknown_fields)]
pub(crate) struct RelationIntent {
    /// The column with the id of a row's person. `None` for a table without people's rows.
    pub(crate) person: Option<String>,
    /// The rights of each role; a role that is not listed has none.
    #[serde(default)]
    pub(crate) rights: BTreeMap<String, Rights>,
}

/// The rights of one role on one table or view.
#[derive(Clone, Default, Deserialize)]
#[serde(deny_unknown_fields)]
pub(crate) struct Rights {
    pub(crate) select: Option<Rows>,
    /// The columns that the role may select; `None` for all.
    pub(crate) select_columns: Option<BTreeSet<String>>,
    pub(crate) insert: Option<Rows>,
    /// Columns with a required value in rows that the role inserts.
    #[serde(default)]
    pub(crate) with: BTreeMap<String, String>,
    pub(crate) update: Option<Rows>,
    /// The columns that the role may update; `None` for all.
    pub(crate) update_columns: Option<BTreeSet<String>>,
    pub(crate) delete: Option<Rows>,
}

/// The rows that a right covers, in ascending order of their number.
#[derive(Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Deserialize)]
#[serde(rename_all = "lowercase")]
pub(crate) enum Rows {
    /// No row, although the statement is permitted: a privilege without a policy. It cannot be declared.
    #[serde(skip)]
    Empty,
    /// The rows that the transaction's lease covers.
    Leased,
    /// The rows of the transaction's person.
    Own,
    /// All rows of the relation.
    All,
}

impl Intent {
    /// Reads and parses `intent.toml`.
    pub(crate) fn read() -> Self {
        toml::from_str(include_str!("intent.toml")).expect("intent.toml has the fields of `Intent`")
    }

    /// Returns every runtime role: the logins, and the roles that they may become.
    pub(crate) fn runtime_roles(&self) -> BTreeSet<&str> {
        let logins = self.logins.keys().map(String::as_str);
        logins
            .chain(self.logins.values().flatten().map(String::as_str))
            .collect()
    }

    /// Returns the rights of `role` on `relation`.
    pub(crate) fn rights(&self, relation: &str, role: &str) -> Rights {
        self.relations
            .get(relation)
            .and_then(|found| found.rights.get(role))
            .cloned()
            .unwrap_or_default()
    }
}

impl Rights {
    /// Returns these rights as the policies alone enforce them, with every privilege granted.
    pub(crate) fn by_policies_alone(self) -> Self {
        let policy = |rows: Option<Rows>| Some(rows.unwrap_or(Rows::Empty));
        Self {
            select: policy(self.select),
            select_columns: None,
            insert: policy(self.insert),
            with: self.with,
            update: policy(self.update),
            update_columns: None,
            delete: policy(self.delete),
        }
    }

    /// Returns `true` when the column may be selected.
    pub(crate) fn may_select(&self, column: &str) -> bool {
        self.select.is_some()
            && self
                .select_columns
                .as_ref()
                .is_none_or(|columns| columns.contains(column))
    }

    /// Returns `true` when the column may be updated.
    pub(crate) fn may_update(&self, column: &str) -> bool {
        self.update.is_some()
            && self
                .update_columns
                .as_ref()
                .is_none_or(|columns| columns.contains(column))
    }
}
