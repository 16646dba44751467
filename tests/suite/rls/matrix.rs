//! The matrix: every attack on every relation, with every role and every caller.

use anyhow::Result;
use haven_testkit::database::Database;

use super::{
    attack::Attack,
    caller::Caller,
    expectation::{Outcome, expected},
    intent::Intent,
    relation::Relation,
    session::Session,
};

/// The mechanisms that are under test.
#[derive(Clone, Copy, PartialEq, Eq)]
pub(crate) enum Protection {
    /// Privileges and policies, as they are migrated.
    PrivilegesAndPolicies,
    /// Policies only: every privilege on every table is granted to every role, as after a mistaken grant.
    PoliciesOnly,
}

/// The results of the attempts.
pub(crate) struct Matrix {
    protection: Protection,
    /// The number of cells that were tried.
    pub(crate) cells: usize,
    /// The number of cells that reached rows, as expected: the positive controls.
    pub(crate) reached: usize,
    /// A line for each cell with an unexpected outcome.
    pub(crate) failures: Vec<String>,
}

impl Matrix {
    /// Creates an empty matrix.
    pub(crate) fn new(protection: Protection) -> Self {
        Self {
            protection,
            cells: 0,
            reached: 0,
            failures: Vec::new(),
        }
    }

    /// Tries every attack with `login`, as itself and as each role that it may become.
    pub(crate) async fn try_login(
        &mut self,
        database: &Database,
        intent: &Intent,
        relations: &[Relation],
        login: &str,
    ) -> Result<()> {
        let mut session = Session::open(database, login).await?;
        let relations: Vec<&Relation> = relations.iter().collect();
        self.try_roles(&mut session, intent, &relations, login, &Caller::ALL)
            .await
    }

    /// Tries every attack on `relations` in `session`, which acts as `login`, as itself and as each role that it may become.
    pub(crate) async fn try_roles(
        &mut self,
        session: &mut Session,
        intent: &Intent,
        relations: &[&Relation],
        login: &str,
        callers: &[Caller],
    ) -> Result<()> {
        // When only policies protect, the server's own roles and views are left out: the roles are granted no
        // privileges, and views have no policies.
        let tried =
            |role: &&String| self.protection == Protection::PrivilegesAndPolicies || !role.starts_with("pg_");
        let relations: Vec<&Relation> = relations
            .iter()
            .copied()
            .filter(|relation| self.protection == Protection::PrivilegesAndPolicies || !relation.is_view)
            .collect();
        let others = intent.logins[login]
            .iter()
            .filter(tried)
            .map(|role| Some(role.as_str()));
        let roles: Vec<Option<&str>> = std::iter::once(None).chain(others).collect();
        for &caller in callers {
            for role in &roles {
                session.begin(*role, caller).await?;
                for relation in &relations {
                    self.try_relation(session, intent, relation, (login, *role), caller)
                        .await?;
                }
                session.rollback().await?;
            }
        }
        Ok(())
    }

    /// Returns `true` when a row that the policies admit violates a unique index or a foreign key, which can happen
    /// when every privilege is granted.
    fn met_a_constraint(&self, found: &Outcome, expected: &Outcome) -> bool {
        self.protection == Protection::PoliciesOnly
            && expected.reaches()
            && matches!(found, Outcome::Failed(code) if code == "23503" || code == "23505")
    }

    /// Tries every attack on `relation` in the open transaction.
    async fn try_relation(
        &mut self,
        session: &mut Session,
        intent: &Intent,
        relation: &Relation,
        (login, role): (&str, Option<&str>),
        caller: Caller,
    ) -> Result<()> {
        let rights = intent.rights(&relation.name, role.unwrap_or(login));
        let (rights, attacks) = match self.protection {
            Protection::PrivilegesAndPolicies => (rights, Attack::all(relation, caller)),
            Protection::PoliciesOnly => (rights.by_policies_alone(), Attack::on_rows()),
        };
        let cells: Vec<(Attack, String, Outcome)> = attacks
            .into_iter()
            .filter(|attack| session.can_copy() || !matches!(attack, Attack::CopyTo))
            .map(|attack| {
                let sql = attack.sql(relation, &rights, caller);
                let expected = expected(&attack, relation, &rights, caller);
                (attack, sql, expected)
            })
            .collect();
        // COPY TO STDOUT needs the client, so it cannot be tried in the server.
        let (copies, others): (Vec<_>, Vec<_>) = cells
            .into_iter()
            .partition(|(attack, ..)| matches!(attack, Attack::CopyTo));
        let statements: Vec<String> = others.iter().map(|(_, sql, _)| sql.clone()).collect();
        let mut outcomes = session.attempt_all("", &statements).await?;
        for (_, sql, expected) in &copies {
            outcomes.push(session.attempt_copy(sql, *expected != Outcome::Refused).await?);
        }
        for ((attack, sql, expected), found) in others.into_iter().chain(copies).zip(outcomes) {
            self.cells += 1;
            if found.meets(&expected, relation) || self.met_a_constraint(&found, &expected) {
                self.reached += usize::from(found.reaches());
                continue;
            }
            self.failures.push(format!(
                "{} by {login} ({}) as {caller:?}, {attack:?}: expected {expected}, found {found}\n    {sql}",
                relation.name,
                role.unwrap_or("no role set"),
            ));
            if matches!(attack, Attack::CopyTo) {
                session.reopen().await?;
                session.begin(role, caller).await?;
            }
        }
        Ok(())
    }
}
