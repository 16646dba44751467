//! Row Level Security and privileges: what each role reaches through the real logins, compared with `intent.toml`.
//!
//! | | |
//! | --- | --- |
//! | [`intent`] | the declared rights; a relation or a role that is not declared fails |
//! | [`relation`] | the relations in the catalog, and the rows of persons A and B in them |
//! | [`caller`], [`attack`] | the callers, and the statements that are tried |
//! | [`expectation`], [`session`], [`matrix`] | the expected outcomes, the outcomes found, and all attempts together |
//! | [`conditions`] | what the conditions of policies and constraints mean beyond ownership: the cells of `conditions/*.toml` |
//! | [`functions`], [`escapes`] | functions of other roles, and attempts to become another role |
//! | [`calls`] | functions that a login calls in place of a transaction |
//! | [`bounds`] | the latest times that roles may choose |
//! | [`leases`] | the messages that a worker sees through its lease |
//! | [`messages_of_others`] | a person's rights on messages of the coach and the system |
//!
//! A new table needs its rights in `intent.toml` and its rows in `seed.sql`.

mod attack;
mod bounds;
mod caller;
mod calls;
pub(crate) mod conditions;
mod escapes;
mod expectation;
pub(crate) mod functions;
pub(crate) mod intent;
mod leases;
mod matrix;
mod messages_of_others;
pub(crate) mod relation;
pub(crate) mod session;

use std::collections::BTreeSet;

use anyhow::{Result, ensure};
use haven_testkit::{
    database::Database,
    secrets::SUPERUSER,
    template::{TestCluster, TestDatabase},
};

pub(crate) use self::{caller::A, matrix::Protection};
use self::{
    caller::{B, Caller},
    intent::Intent,
    matrix::Matrix,
    relation::Relation,
    session::Session,
};

/// The maximum number of failures that are reported.
const SHOWN: usize = 40;

#[tokio::test]
async fn every_role_reaches_exactly_the_declared_rows() -> Result<()> {
    run_matrix(TestCluster::shared().await?, Protection::PrivilegesAndPolicies).await
}

/// A missing privilege refuses most of what a policy refuses, and would hide a policy that is too permissive. Here every
/// privilege is granted.
#[tokio::test]
async fn policies_alone_protect_the_rows() -> Result<()> {
    run_matrix(TestCluster::shared().await?, Protection::PoliciesOnly).await
}

/// Tries every attack of every login in a new database of `cluster`.
pub(crate) async fn run_matrix(cluster: &TestCluster, protection: Protection) -> Result<()> {
    let database = cluster.database().await?;
    run_matrix_in(&database, protection).await
}

/// Deletes the rows of all people in `database`, whose roles, grants and policies are to be tried, and tries every attack of
/// every login.
pub(crate) async fn run_matrix_without_people(database: &Database) -> Result<()> {
    let intent = Intent::read();
    let owned = intent
        .relations
        .iter()
        .filter(|(_, relation)| relation.person.is_some());
    let owned: Vec<&str> = owned.map(|(name, _)| name.as_str()).collect();
    let tables = "SELECT string_agg(oid::regclass::text, ', ') FROM pg_class
                   WHERE relkind = 'r' AND oid = ANY ($1::regclass[])";
    let tables: String = sqlx::query_scalar(tables)
        .bind(&owned)
        .fetch_one(&mut database.connect(SUPERUSER).await?)
        .await?;
    database.run(SUPERUSER, &format!("TRUNCATE {tables}")).await?;
    run_matrix_in(database, Protection::PrivilegesAndPolicies).await
}

async fn run_matrix_in(database: &Database, protection: Protection) -> Result<()> {
    seed_people(database).await?;
    let intent = Intent::read();
    let relations = Relation::read_all(&mut database.connect(SUPERUSER).await?, &intent.relations).await?;
    if protection == Protection::PoliciesOnly {
        let tables = "ALL TABLES IN SCHEMA identity, data";
        database.run(SUPERUSER, &every_privilege(&intent, tables)).await?;
    }
    let mut matrix = Matrix::new(protection);
    for login in intent.logins.keys() {
        matrix.try_login(database, &intent, &relations, login).await?;
    }
    eprintln!("{} cells, {} of which reach rows", matrix.cells, matrix.reached);
    ensure!(
        matrix.reached > 0,
        "no attempt reaches a row: the matrix proves nothing"
    );
    report(&matrix.failures)
}

/// Returns the statements that grant every privilege on `tables` to every runtime role.
fn every_privilege(intent: &Intent, tables: &str) -> String {
    let roles = intent
        .runtime_roles()
        .into_iter()
        .filter(|role| !role.starts_with("pg_"));
    let roles = roles.collect::<Vec<_>>().join(", ");
    format!(
        "GRANT USAGE ON SCHEMA identity, data TO {roles};
         GRANT SELECT, INSERT, UPDATE, DELETE ON {tables} TO {roles}"
    )
}

/// Tries the attacks on one relation within a nested session, with the logins that are `role` or may become it; with every
/// login when `role` is empty. Returns a line for each cell with an unexpected outcome.
pub(crate) async fn failures_within(
    session: &mut Session,
    intent: &Intent,
    relation: &Relation,
    role: &str,
    protection: Protection,
) -> Result<Vec<String>> {
    if protection == Protection::PoliciesOnly && !relation.is_view {
        session.execute(&every_privilege(intent, &relation.name)).await?;
    }
    let mut matrix = Matrix::new(protection);
    for (login, roles) in &intent.logins {
        if role.is_empty() || login == role || roles.contains(role) {
            session.act_as(login);
            matrix
                .try_roles(session, intent, &[relation], login, &Caller::NESTED)
                .await?;
        }
    }
    Ok(matrix.failures)
}

#[tokio::test]
async fn every_relation_and_every_role_is_declared() -> Result<()> {
    let database = seeded().await?;
    let intent = Intent::read();
    let mut superuser = database.connect(SUPERUSER).await?;
    let declared: BTreeSet<String> = intent.relations.keys().cloned().collect();
    assert_eq!(
        Relation::names(&mut superuser).await?,
        declared,
        "relations: in the database, and in intent.toml"
    );

    let mut roles: BTreeSet<String> = intent.runtime_roles().into_iter().map(str::to_owned).collect();
    roles.extend(intent.roles.outside.iter().cloned());
    // The server's own roles count when one of Haven's logins can become them.
    let found = "SELECT rolname::text FROM pg_roles r WHERE rolname !~ '^pg_' OR EXISTS (
                     SELECT FROM unnest($1::text[]) AS login WHERE pg_has_role(login::name, r.oid, 'MEMBER'))";
    let logins: Vec<&str> = intent.logins.keys().map(String::as_str).collect();
    let found: Vec<String> = sqlx::query_scalar(found)
        .bind(logins)
        .fetch_all(&mut superuser)
        .await?;
    assert_eq!(
        found.into_iter().collect::<BTreeSet<_>>(),
        roles,
        "roles: in the cluster, and in intent.toml"
    );
    Ok(())
}

/// Creates a database with rows of A and B in every table.
pub(crate) async fn seeded() -> Result<TestDatabase> {
    let database = TestCluster::shared().await?.database().await?;
    seed_people(&database).await?;
    Ok(database)
}

/// Inserts rows of A and B into every table.
pub(crate) async fn seed_people(database: &Database) -> Result<()> {
    seed(database, A, "a", 1).await?;
    seed(database, B, "b", 2).await
}

/// Inserts the rows of one person.
async fn seed(database: &Database, person: &str, name: &str, rows: u32) -> Result<()> {
    let sql = include_str!("seed.sql")
        .replace("{person}", person)
        .replace("{name}", name);
    database
        .run(SUPERUSER, &sql.replace("{rows}", &rows.to_string()))
        .await
}

/// Fails with the first failures, if there are any.
fn report(failures: &[String]) -> Result<()> {
    let shown = failures
        .iter()
        .take(SHOWN)
        .cloned()
        .collect::<Vec<_>>()
        .join("\n");
    ensure!(
        failures.is_empty(),
        "{} outcomes are not as declared:\n{shown}",
        failures.len()
    );
    Ok(())
}
