//! The wall: what each role can reach, tried through the real logins, against what `intent.toml` says it is
//! meant to.
//!
//! | | |
//! | --- | --- |
//! | [`intent`] | what is meant, declared by hand; a relation or a role that is not in it fails |
//! | [`relation`] | what there is, read from the catalog, and the rows of persons A and B in it |
//! | [`caller`], [`attack`] | as whom, and what is tried |
//! | [`expectation`], [`session`], [`matrix`] | what has to come of it, what did, and all of it together |
//! | [`functions`], [`escapes`] | calling what others may call, and becoming somebody else |
//! | [`leases`] | what a worker sees of the messages that it holds a lease on, and for how long |
//! | [`others`] | what a person can do with what the coach and the product said |
//!
//! A new table needs its rights in `intent.toml` and its rows in `seed.sql`, and nothing else.

mod attack;
mod caller;
mod escapes;
mod expectation;
mod functions;
mod intent;
mod leases;
mod matrix;
mod messages_of_others;
mod relation;
mod session;

use std::collections::BTreeSet;

use anyhow::{Result, ensure};
use haven_testkit::{
    database::Database,
    secrets::SUPERUSER,
    template::{TestCluster, TestDatabase},
};

use self::{
    caller::{A, B},
    intent::Intent,
    matrix::{Matrix, Wall},
    relation::Relation,
};

/// More than this many failures say nothing that the first ones do not.
const SHOWN: usize = 40;

#[tokio::test]
async fn every_role_reaches_exactly_the_rows_that_are_meant() -> Result<()> {
    run_matrix(Wall::Whole).await
}

/// What a policy refuses is mostly refused by a missing privilege already, so that nobody would notice a
/// policy that is too wide. Here nothing else is in the way.
#[tokio::test]
async fn policies_alone_leave_the_rows_that_are_meant() -> Result<()> {
    run_matrix(Wall::Policies).await
}

async fn run_matrix(wall: Wall) -> Result<()> {
    let database = seeded().await?;
    let intent = Intent::read();
    let relations = Relation::read_all(&mut database.connect(SUPERUSER).await?, &intent.relations).await?;
    if wall == Wall::Policies {
        let roles = intent
            .runtime_roles()
            .into_iter()
            .filter(|role| !role.starts_with("pg_"));
        let roles = roles.collect::<Vec<_>>().join(", ");
        let grants = format!(
            "GRANT USAGE ON SCHEMA identity, data TO {roles};
             GRANT SELECT, INSERT, UPDATE, DELETE ON ALL TABLES IN SCHEMA identity, data TO {roles}"
        );
        database.run(SUPERUSER, &grants).await?;
    }
    let mut matrix = Matrix::new(wall);
    for login in intent.logins.keys() {
        matrix.try_login(&database, &intent, &relations, login).await?;
    }
    eprintln!("{} cells, {} of which reach rows", matrix.cells, matrix.reached);
    ensure!(
        matrix.reached > 0,
        "nobody reaches anything: the matrix proves nothing"
    );
    report(&matrix.failures)
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
    // The server's own roles count when one of ours can become them.
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

/// A database with the rows of A and B in every table.
async fn seeded() -> Result<TestDatabase> {
    let database = TestCluster::shared().await?.database().await?;
    seed_people(&database).await?;
    Ok(database)
}

/// Gives A and B rows in every table.
pub(crate) async fn seed_people(database: &Database) -> Result<()> {
    seed(database, A, "a", 1).await?;
    seed(database, B, "b", 2).await
}

async fn seed(database: &Database, person: &str, name: &str, rows: u32) -> Result<()> {
    let sql = include_str!("seed.sql")
        .replace("{person}", person)
        .replace("{name}", name);
    database
        .run(SUPERUSER, &sql.replace("{rows}", &rows.to_string()))
        .await
}

fn report(failures: &[String]) -> Result<()> {
    let shown = failures
        .iter()
        .take(SHOWN)
        .cloned()
        .collect::<Vec<_>>()
        .join("\n");
    ensure!(
        failures.is_empty(),
        "{} are not as they are meant to be:\n{shown}",
        failures.len()
    );
    Ok(())
}
