//! What the roles are meant to be able to do: `intent.toml`.

use std::collections::{BTreeMap, BTreeSet};

use serde::Deserialize;

/// The whole declaration.
#[derive(Deserialize)]
#[serde(deny_unknown_fields)]
pub(crate) struct Intent {
    /// Each login, and the roles that it may become.
    pub(crate) logins: BTreeMap<String, BTreeSet<String>>,
    pub(crate) roles: Roles,
    /// Functions by signature, and who may call them.
    pub(crate) functions: BTreeMap<String, BTreeSet<String>>,
    /// Tables and views by qualified name.
    pub(crate) relations: BTreeMap<String, RelationIntent>,
}

#[derive(Deserialize)]
#[serde(deny_unknown_fields)]
pub(crate) struct Roles {
    /// Logins that may not connect to the database.
    pub(crate) disconnected: BTreeSet<String>,
    /// Roles that are not tried, because they own what the others use.
    pub(crate) outside: BTreeSet<String>,
}

/// What is meant for one table or view.
#[derive(Deserialize)]
#[serde(deny_unknown_fields)]
pub(crate) struct RelationIntent {
    /// The column that says whose a row is. `None` for a table that holds nobody's rows.
    pub(crate) person: Option<String>,
    /// What each role may do; who is not among them may do nothing.
    #[serde(default)]
    pub(crate) rights: BTreeMap<String, Rights>,
}

/// What one role may do to one table or view.
#[derive(Clone, Default, Deserialize)]
#[serde(deny_unknown_fields)]
pub(crate) struct Rights {
    pub(crate) select: Option<Rows>,
    /// The columns that it may select; `None` for all.
    pub(crate) select_columns: Option<BTreeSet<String>>,
    pub(crate) insert: Option<Rows>,
    /// Columns that have to hold a certain value in what it inserts.
    #[serde(default)]
    pub(crate) with: BTreeMap<String, String>,
    pub(crate) update: Option<Rows>,
    /// The columns that it may update; `None` for all.
    pub(crate) update_columns: Option<BTreeSet<String>>,
    pub(crate) delete: Option<Rows>,
}

/// Which rows a right is about. In order: less comes first.
#[derive(Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Deserialize)]
#[serde(rename_all = "lowercase")]
pub(crate) enum Rows {
    /// None, though the statement itself is allowed: a privilege without a policy. Not to be declared.
    #[serde(skip)]
    Nobody,
    /// Those that the lease covers which the transaction carries.
    Leased,
    /// Those of the person whom the transaction carries.
    Own,
    /// Everybody's.
    All,
}

impl Intent {
    /// Reads the declaration.
    pub(crate) fn read() -> Self {
        toml::from_str(include_str!("intent.toml")).expect("intent.toml is what `Intent` describes")
    }

    /// Every runtime role: the logins, and what they may become.
    pub(crate) fn runtime_roles(&self) -> BTreeSet<&str> {
        let logins = self.logins.keys().map(String::as_str);
        logins
            .chain(self.logins.values().flatten().map(String::as_str))
            .collect()
    }

    /// What `role` may do to `relation`.
    pub(crate) fn rights(&self, relation: &str, role: &str) -> Rights {
        self.relations
            .get(relation)
            .and_then(|found| found.rights.get(role))
            .cloned()
            .unwrap_or_default()
    }
}

impl Rights {
    /// What the policies alone leave of these rights, were every privilege granted.
    pub(crate) fn by_policies_alone(self) -> Self {
        let policy = |rows: Option<Rows>| Some(rows.unwrap_or(Rows::Nobody));
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

    pub(crate) fn may_select(&self, column: &str) -> bool {
        self.select.is_some()
            && self
                .select_columns
                .as_ref()
                .is_none_or(|columns| columns.contains(column))
    }

    pub(crate) fn may_update(&self, column: &str) -> bool {
        self.update.is_some()
            && self
                .update_columns
                .as_ref()
                .is_none_or(|columns| columns.contains(column))
    }
}
