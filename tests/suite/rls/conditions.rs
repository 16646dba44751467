//! What the conditions of policies, constraints and functions mean, beyond the ownership that the matrix tests: each is
//! stated in `conditions/*.toml` with statements that it admits and statements that it refuses, up to its boundary.
//!
//! A statement is tried as the role that the policy is for, after the superuser made the rows that it meets. Everything is
//! one transaction, in which `now()` stands still, so a boundary in time can be met exactly.

pub(crate) mod locked;

use std::{collections::BTreeMap, fs};

use anyhow::{Context, Result, ensure};
use haven_testkit::workspace;
use serde::Deserialize;

use super::{
    caller::{A, B, Caller, LEASE},
    expectation::Outcome,
    report, seeded,
    session::Session,
};

/// All conditions.
pub(crate) struct Conditions(Vec<Condition>);

/// A condition, and what shows it.
#[derive(Deserialize)]
#[serde(deny_unknown_fields)]
pub(crate) struct Condition {
    /// What holds.
    states: String,
    /// The tables and functions of which this is a condition.
    on: Vec<String>,
    /// The login.
    login: String,
    /// The role that it becomes, if it becomes another.
    role: Option<String>,
    /// The caller of the transaction.
    #[serde(default)]
    caller: Person,
    /// Statements of the superuser that make the rows.
    #[serde(default)]
    given: String,
    /// Settings of the transaction.
    #[serde(default)]
    set: BTreeMap<String, String>,
    tries: Vec<Try>,
}

/// The caller of a transaction.
#[derive(Clone, Copy, Default, Deserialize)]
#[serde(rename_all = "lowercase")]
enum Person {
    A,
    B,
    #[default]
    None,
    /// The worker with the lease of the seed.
    Lease,
}

/// A statement by itself, and its outcome.
#[derive(Deserialize)]
#[serde(deny_unknown_fields)]
struct Try {
    sql: String,
    /// A number of rows, `refused`, or an SQLSTATE.
    gives: Expected,
}

#[derive(Deserialize)]
#[serde(untagged)]
enum Expected {
    Rows(u64),
    Failure(String),
}

impl Conditions {
    /// Reads all conditions.
    pub(crate) fn read() -> Result<Self> {
        #[derive(Deserialize)]
        struct File {
            condition: Vec<Condition>,
        }
        let mut conditions = Vec::new();
        for path in workspace::files(&workspace::root().join("tests/suite/rls/conditions"))? {
            if path.extension().is_none_or(|extension| extension != "toml") {
                continue;
            }
            let file: File = toml::from_str(&fs::read_to_string(&path)?)
                .with_context(|| format!("reading {}", path.display()))?;
            conditions.extend(file.condition);
        }
        Ok(Self(conditions))
    }

    /// Tries the statements of the chosen conditions in a nested session. Returns a line for each unexpected outcome.
    pub(crate) async fn broken(
        &self,
        session: &mut Session,
        chosen: impl Fn(&Condition) -> bool,
    ) -> Result<Vec<String>> {
        let mut broken = Vec::new();
        for condition in self.0.iter().filter(|condition| chosen(condition)) {
            session.execute("SAVEPOINT condition").await?;
            let outcome = condition.broken(session).await;
            session
                .execute("ROLLBACK TO SAVEPOINT condition; RELEASE SAVEPOINT condition")
                .await?;
            match outcome {
                Ok(lines) => broken.extend(lines),
                Err(error) => broken.push(format!("{}: {error:#}", condition.states)),
            }
        }
        Ok(broken)
    }
}

impl Condition {
    /// Returns `true` if this is a condition of the table, or of a function that `subject` names.
    pub(crate) fn is_about(&self, relation: &str, subject: &str) -> bool {
        let names =
            |on: &String| subject.starts_with(&format!("{on}(")) || subject.contains(&format!(" {on}("));
        self.on.iter().any(|on| {
            if relation.is_empty() {
                names(on)
            } else {
                on == relation
            }
        })
    }

    async fn broken(&self, session: &mut Session) -> Result<Vec<String>> {
        if !self.given.is_empty() {
            session.execute(&named(&self.given)).await?;
        }
        session.act_as(&self.login);
        session.begin(self.role.as_deref(), self.caller.caller()).await?;
        let settings = self
            .set
            .iter()
            .map(|(name, value)| format!("SELECT set_config('{name}', '{}', true)", named(value)));
        let setup = settings.collect::<Vec<_>>().join("; ");
        let statements: Vec<String> = self.tries.iter().map(|attempt| named(&attempt.sql)).collect();
        let outcomes = session.attempt_all(&setup, &statements).await?;
        session.rollback().await?;
        ensure!(
            outcomes.len() == self.tries.len(),
            "an outcome for each statement"
        );
        let tries = self.tries.iter().zip(outcomes);
        Ok(tries
            .filter(|(attempt, found)| !attempt.gives.is(found))
            .map(|(attempt, found)| {
                let sql = attempt.sql.split_whitespace().collect::<Vec<_>>().join(" ");
                format!(
                    "{}: expected {}, found {found}: {sql}",
                    self.states,
                    attempt.gives.outcome()
                )
            })
            .collect())
    }
}

impl Person {
    fn caller(self) -> Caller {
        match self {
            Self::A => Caller::PersonA,
            Self::B => Caller::PersonB,
            Self::None => Caller::NoClaims,
            Self::Lease => Caller::Leaseholder,
        }
    }
}

impl Expected {
    fn outcome(&self) -> Outcome {
        match self {
            Self::Rows(rows) => Outcome::Rows(*rows),
            Self::Failure(code) if code == "refused" => Outcome::Refused,
            Self::Failure(code) => Outcome::Failed(code.clone()),
        }
    }

    fn is(&self, found: &Outcome) -> bool {
        match (self, found) {
            (Self::Rows(rows), Outcome::Seen(seen)) => seen.values().sum::<u64>() == *rows,
            (expected, found) => expected.outcome() == *found,
        }
    }
}

/// Replaces the names of people and of the lease by their ids.
fn named(sql: &str) -> String {
    sql.replace("{A}", A).replace("{B}", B).replace("{LEASE}", LEASE)
}

#[tokio::test]
async fn conditions_admit_and_refuse_what_they_say() -> Result<()> {
    let database = seeded().await?;
    let mut session = Session::nested(&database).await?;
    let conditions = Conditions::read()?;
    let tries: usize = conditions.0.iter().map(|condition| condition.tries.len()).sum();
    eprintln!("{} conditions, {tries} statements", conditions.0.len());
    report(&conditions.broken(&mut session, |_| true).await?)
}

/// A person who is locked, as during a reconciliation, is refused before any row is met.
#[tokio::test]
async fn a_locked_person_reaches_no_table() -> Result<()> {
    let database = seeded().await?;
    let mut session = Session::nested(&database).await?;
    let failures = locked::failures(&mut session, None).await?;
    report(&failures)
}
