//! The security checks of a database: [`all`] has them, [`run`] runs them.
//!
//! A check is a query for the objects that violate a rule, so that a failure names them. It has to return no row.

mod authentication;
pub mod backup;
mod extensions;
mod finding;
mod functions;
mod list;
mod logging;
mod privileges;
mod roles;
mod row_security;
mod server;
mod session;
mod version;

pub(super) use self::version::{Outdated, outdated};
pub use self::{
    finding::{Finding, Outcome},
    list::all,
    session::run,
};
use crate::environment::Environment;

/// A rule that the database has to satisfy.
#[derive(Debug)]
pub struct Check {
    /// The permanent name, in kebab case.
    pub name: &'static str,
    /// The rule, as a sentence about a database that satisfies it.
    pub title: &'static str,
    /// The reason for the rule.
    pub meaning: &'static str,
    /// The statements or the action that mend a violation.
    pub remedy: &'static str,
    /// The logins that can see what the check is about.
    sight: Sight,
    /// The environments in which a violation is a failure. In the others it is a warning.
    fails_in: Environments,
    /// A query for the violations, in one column of type text.
    sql: &'static str,
}

/// The logins that can see what a check is about.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum Sight {
    /// Every login.
    Anyone,
    /// A login with pg_read_all_settings.
    Settings,
    /// A superuser. Hosted platforms have none for their customers.
    Superuser,
}

/// The environments in which a violation is a failure.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum Environments {
    /// All environments.
    Every,
    /// Production only, because a developer's machine is not installed for it.
    Production,
}

impl Environments {
    /// Returns the outcome of a check with the violations `objects`.
    fn judge(self, environment: Environment, objects: Vec<String>) -> Outcome {
        match (self, environment) {
            _ if objects.is_empty() => Outcome::Pass,
            (Self::Production, Environment::Development) => Outcome::Warning { objects },
            _ => Outcome::Fail { objects },
        }
    }
}

/// The settings of roles and databases, which override those of the server. `applies` is true of those that apply to this
/// database.
const OVERRIDES: &str = "(
    SELECT o.setrole AS role, o.setdatabase AS database, coalesce(d.datname = current_database(), true) AS applies,
           split_part(pair, '=', 1) AS name,
           -- Postgres keeps a value as it was written. Words for true and false may be cut short.
           CASE WHEN word = '' THEN word
                WHEN starts_with('true', lower(word)) OR starts_with('yes', lower(word)) THEN 'on'
                WHEN starts_with('false', lower(word)) OR starts_with('no', lower(word)) OR lower(word) = 'of' THEN 'off'
                ELSE lower(word) END AS value,
           concat_ws(' in ', 'role ' || nullif(o.setrole, 0)::regrole, 'database ' || d.datname) AS place
      FROM pg_db_role_setting o LEFT JOIN pg_database d ON d.oid = o.setdatabase, unnest(o.setconfig) AS pair,
           LATERAL substr(pair, strpos(pair, '=') + 1) AS word)";

/// The settings of the server, and those of roles and databases.
const SETTINGS: &str = "(
    SELECT p.name, p.setting AS value, 'the server' AS place FROM pg_settings p
    UNION ALL
    SELECT s.name, s.value, s.place FROM {overrides} AS s) AS setting";

/// The rules of `pg_hba.conf` in their order, which since Postgres 16 can come from several files.
const HBA: &str = "(
    SELECT h.*, coalesce((to_jsonb(h) ->> 'rule_number')::int, h.line_number) AS number
      FROM pg_hba_file_rules h WHERE h.error IS NULL)";

/// The roles of `migrations/cluster/0001_roles.sql`: name, LOGIN, INHERIT.
const DECLARED: &str = "(VALUES
    ('identity_owner', true, false), ('identity_app', true, false), ('identity_worker', true, false),
    ('identity_anon', false, false), ('identity_user', false, false), ('identity_service', false, false),
    ('data_owner', true, false), ('data_app', true, false), ('data_worker', true, false),
    ('data_anon', false, false), ('data_user', false, false), ('data_service', false, false),
    ('haven_readonly', true, false), ('haven_backup', true, true), ('haven_monitor', true, true)
    ) AS declared (name, login, inherit)";

impl Check {
    /// Returns the query for the violations in `schema`, of which the program needs the version `newest`.
    fn sql(&self, schema: &str, newest: i64) -> String {
        // Settings contain overrides.
        self.sql
            .replace("{settings}", SETTINGS)
            .replace("{overrides}", OVERRIDES)
            .replace("{hba}", HBA)
            .replace("{declared}", DECLARED)
            .replace("{newest}", &newest.to_string())
            .replace("{schema}", schema)
    }

    /// Returns the remedy for `schema`, of which the program needs the version `newest`.
    fn remedy(&self, schema: &str, newest: i64) -> String {
        self.remedy
            .replace("{newest}", &newest.to_string())
            .replace("{schema}", schema)
    }
}
