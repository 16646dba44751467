//! Applies a mutant to a database, runs the checks, and takes the mutant back.
//!
//! Everything happens in one transaction, which is rolled back: a mutant costs no copy of the database, and leaves nothing.

use std::{fmt, time::Instant};

use anyhow::{Context, Result, bail};
use haven_testkit::{database::Database, secrets::SUPERUSER};

use super::mutant::Mutant;
use crate::{
    rls::{
        self, Protection,
        conditions::{Condition, Conditions, locked},
        functions,
        intent::Intent,
        relation::Relation,
        session::Session,
    },
    schema::{
        catalog_rules,
        snapshot::{self, Pages},
    },
};

/// A check that can kill a mutant, in the order in which they are run. The first that fails is counted.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub(super) enum Check {
    /// `rls/conditions`: what each condition of a policy or constraint means.
    Conditions,
    /// `rls/matrix`, of the mutant's table and role.
    Matrix,
    /// The same with every privilege granted.
    PoliciesAlone,
    /// The roles that may execute each function, as declared in `rls/intent.toml`.
    Functions,
    /// `schema/catalog_rules`.
    Rules,
    /// `schema/snapshot`.
    Snapshot,
}

/// What became of a mutant.
pub(super) enum Verdict {
    /// A check failed.
    Killed(Check, String),
    /// No check failed.
    Survived,
    /// Postgres refused the change.
    Inapplicable(String),
}

/// A database in which mutants are judged.
pub(super) struct Judge {
    session: Session,
    database: Database,
    intent: Intent,
    relations: Vec<Relation>,
    conditions: Conditions,
    reviewed: Pages,
}

impl Check {
    pub(super) const ALL: [Self; 6] = [
        Self::Conditions,
        Self::Matrix,
        Self::PoliciesAlone,
        Self::Functions,
        Self::Rules,
        Self::Snapshot,
    ];
}

impl fmt::Display for Check {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(match self {
            Self::Conditions => "conditions",
            Self::Matrix => "matrix",
            Self::PoliciesAlone => "matrix of policies alone",
            Self::Functions => "functions",
            Self::Rules => "rules",
            Self::Snapshot => "snapshot",
        })
    }
}

impl Judge {
    /// Prepares `database`, which is migrated and has no rows.
    pub(super) async fn new(database: &Database) -> Result<Self> {
        rls::seed_people(database).await?;
        let mut superuser = database.connect(SUPERUSER).await?;
        let intent = Intent::read();
        let relations = Relation::read_all(&mut superuser, &intent.relations).await?;
        Ok(Self {
            session: open(database).await?,
            database: database.clone(),
            intent,
            relations,
            conditions: Conditions::read()?,
            reviewed: snapshot::reviewed()?,
        })
    }

    /// Generates the mutants of the database.
    pub(super) async fn mutants(&mut self) -> Result<Vec<Mutant>> {
        Mutant::generate(&mut self.session.connection).await
    }

    /// Checks that no check fails without a change: neither for any table, nor after Postgres has parsed every text again.
    pub(super) async fn approve_the_schema(&mut self) -> Result<()> {
        let mut unchanged = vec![Mutant::without_a_change(&mut self.session.connection).await?];
        unchanged.extend(self.relations.iter().map(|relation| Mutant {
            kind: "policy unchanged".to_owned(),
            subject: relation.name.clone(),
            relation: relation.name.clone(),
            role: String::new(),
            apply: "SELECT".to_owned(),
        }));
        for mutant in unchanged {
            match self.judge(&mutant).await? {
                Verdict::Survived => {}
                Verdict::Killed(check, why) => bail!("{check} fails on {}: {why}", mutant.name()),
                Verdict::Inapplicable(why) => bail!("{} cannot be applied: {why}", mutant.name()),
            }
        }
        Ok(())
    }

    /// Applies the mutant, runs the checks until one fails, and takes the mutant back.
    pub(super) async fn judge(&mut self, mutant: &Mutant) -> Result<Verdict> {
        if let Err(error) = self.session.execute(&mutant.apply).await {
            self.begin_again().await?;
            return Ok(Verdict::Inapplicable(format!("{error:#}")));
        }
        let mut verdict = Verdict::Survived;
        for check in Check::ALL {
            self.session.execute("SAVEPOINT judged").await?;
            // A statement of a check that fails in another way than the check expects is noticed too.
            let broken = self
                .run(check, mutant)
                .await
                .unwrap_or_else(|error| Some(format!("{error:#}")));
            self.session
                .execute("ROLLBACK TO SAVEPOINT judged")
                .await
                .with_context(|| format!("after {check} of {}", mutant.name()))?;
            if let Some(broken) = broken {
                verdict = Verdict::Killed(check, broken);
                break;
            }
        }
        self.begin_again().await?;
        Ok(verdict)
    }

    async fn begin_again(&mut self) -> Result<()> {
        if self.session.execute("ROLLBACK").await.is_err() {
            self.session = open(&self.database).await?;
            return Ok(());
        }
        begin(&mut self.session).await
    }

    /// Runs one check, as far as it is about the mutant. Returns its first failure.
    async fn run(&mut self, check: Check, mutant: &Mutant) -> Result<Option<String>> {
        let failures = match check {
            Check::Conditions => {
                let about = |condition: &Condition| condition.is_about(&mutant.relation, &mutant.subject);
                let mut failures = self.conditions.broken(&mut self.session, about).await?;
                if failures.is_empty() && mutant.kind.starts_with("policy") {
                    failures = locked::failures(&mut self.session, Some(&mutant.relation)).await?;
                }
                failures
            }
            Check::Matrix => self.matrix(mutant, Protection::PrivilegesAndPolicies).await?,
            Check::PoliciesAlone if mutant.kind.starts_with("policy") || mutant.kind.starts_with("RLS") => {
                self.matrix(mutant, Protection::PoliciesOnly).await?
            }
            Check::PoliciesAlone => Vec::new(),
            Check::Functions if mutant.relation.is_empty() => {
                functions::undeclared(&mut self.session.connection, &self.intent).await?
            }
            Check::Functions => Vec::new(),
            Check::Rules => catalog_rules::broken(&mut self.session.connection).await?,
            Check::Snapshot => {
                let found = snapshot::read(&mut self.session.connection).await?;
                snapshot::differences(&self.reviewed, &found)
            }
        };
        Ok(failures.into_iter().next())
    }

    async fn matrix(&mut self, mutant: &Mutant, protection: Protection) -> Result<Vec<String>> {
        let Some(relation) = self
            .relations
            .iter()
            .find(|relation| relation.name == mutant.relation)
        else {
            return Ok(Vec::new());
        };
        rls::failures_within(
            &mut self.session,
            &self.intent,
            relation,
            &mutant.role,
            protection,
        )
        .await
    }
}

/// Opens a session in which every check can run.
async fn open(database: &Database) -> Result<Session> {
    let mut session = Session::nested(database).await?;
    // The objects that the checks need are temporary, and outlive the transactions.
    session.execute("COMMIT").await?;
    catalog_rules::prepare(&mut session.connection).await?;
    snapshot::prepare(&mut session.connection).await?;
    begin(&mut session).await?;
    Ok(session)
}

/// Begins a transaction. The leases of the seed would expire during a long run.
async fn begin(session: &mut Session) -> Result<()> {
    let extend = "BEGIN; UPDATE data.analysis_jobs SET lease_expires_at = now() + interval '5 minutes' WHERE state = 'leased'";
    session.execute(extend).await
}

/// Judges `mutants`, and calls `seen` with each verdict and its time.
pub(super) async fn judge_all(
    judge: &mut Judge,
    mutants: impl IntoIterator<Item = Mutant>,
    mut seen: impl FnMut(&Mutant, &Verdict, f64),
) -> Result<()> {
    for mutant in mutants {
        let start = Instant::now();
        let verdict = judge.judge(&mutant).await?;
        seen(&mutant, &verdict, start.elapsed().as_secs_f64());
    }
    Ok(())
}
