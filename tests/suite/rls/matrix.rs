//! Every relation, by every role, as every caller, under every attack.

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

/// What stands between a role and a row.
#[derive(Clone, Copy, PartialEq, Eq)]
pub(crate) enum Wall {
    /// Privileges and policies, as they are.
    Whole,
    /// Policies alone, with every privilege on every table granted to everybody: what a mistaken grant would
    /// leave.
    Policies,
}

/// What was tried, and what did not come out as it has to.
pub(crate) struct Matrix {
    wall: Wall,
    /// How many cells were tried.
    pub(crate) cells: usize,
    /// The cells in which somebody reached rows, as they have to: the positive controls.
    pub(crate) reached: usize,
    /// A line for each cell that is not as intended.
    pub(crate) failures: Vec<String>,
}

impl Matrix {
    pub(crate) fn new(wall: Wall) -> Self {
        Self {
            wall,
            cells: 0,
            reached: 0,
            failures: Vec::new(),
        }
    }

    /// Tries everything that `login` can, as itself and as each role that it may become.
    pub(crate) async fn try_login(
        &mut self,
        database: &Database,
        intent: &Intent,
        relations: &[Relation],
        login: &str,
    ) -> Result<()> {
        let mut session = Session::open(database, intent, login).await?;
        // The server's own roles have no privilege to grant them, and no view has a policy.
        let tried = |role: &&String| self.wall == Wall::Whole || !role.starts_with("pg_");
        let relations: Vec<&Relation> = relations
            .iter()
            .filter(|relation| self.wall == Wall::Whole || !relation.is_view)
            .collect();
        let others = intent.logins[login]
            .iter()
            .filter(tried)
            .map(|role| Some(role.as_str()));
        let roles: Vec<Option<&str>> = std::iter::once(None).chain(others).collect();
        for caller in Caller::ALL {
            for role in &roles {
                session.begin(*role, caller).await?;
                for relation in &relations {
                    self.try_relation(&mut session, intent, relation, (login, *role), caller)
                        .await?;
                }
                session.rollback().await?;
            }
        }
        Ok(())
    }

    /// With every privilege granted, what policies let through may still meet a unique index or a foreign key, which is
    /// no wall of theirs.
    fn met_a_constraint(&self, found: &Outcome, expected: &Outcome) -> bool {
        self.wall == Wall::Policies
            && expected.reaches()
            && matches!(found, Outcome::Failed(code) if code == "23503" || code == "23505")
    }

    async fn try_relation(
        &mut self,
        session: &mut Session,
        intent: &Intent,
        relation: &Relation,
        (login, role): (&str, Option<&str>),
        caller: Caller,
    ) -> Result<()> {
        let rights = intent.rights(&relation.name, role.unwrap_or(login));
        let (rights, attacks) = match self.wall {
            Wall::Whole => (rights, Attack::all(relation, caller)),
            Wall::Policies => (rights.by_policies_alone(), Attack::on_rows()),
        };
        let cells: Vec<(Attack, String, Outcome)> = attacks
            .into_iter()
            .map(|attack| {
                let sql = attack.sql(relation, &rights, caller);
                let expected = expected(&attack, relation, &rights, caller);
                (attack, sql, expected)
            })
            .collect();
        // COPY speaks to the client, and cannot be tried in the server.
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
