//! A locked person: no statement of the person's role reaches a table with people's content, and a service does not change
//! what it keeps for the person.

use anyhow::Result;
use sqlx::Row;

use super::super::{
    caller::{A, Caller},
    expectation::Outcome,
    session::Session,
};

/// The error of `data.admit_person()`.
const LOCKED: &str = "UL001";

/// The tables without people's content, whose rows a locked person may still see: how far an erasure is.
const OPEN: [&str; 5] = [
    "data._sqlx_migrations",
    "data.crisis_feed",
    "data.erasures",
    "data.sync_epochs",
    "data.tombstones",
];

/// Tries each command on each table, or on `only`, as a locked person with every privilege and a policy that admits
/// everything, so that only the refusal of locked people is left, and as the person when it is not locked. Returns a line for each unexpected
/// outcome.
pub(crate) async fn failures(session: &mut Session, only: Option<&str>) -> Result<Vec<String>> {
    let tables = sqlx::query(
        "SELECT format('%I.%I', n.nspname, c.relname) AS name,
                (SELECT format('%I', attname) FROM pg_attribute WHERE attrelid = c.oid AND attnum = 1) AS first
           FROM pg_class AS c JOIN pg_namespace AS n ON n.oid = c.relnamespace
          WHERE n.nspname = 'data' AND c.relkind = 'r' ORDER BY 1",
    )
    .persistent(false)
    .fetch_all(&mut session.connection)
    .await?;
    let mut failures = Vec::new();
    for table in &tables {
        let (name, first): (String, String) = (table.get("name"), table.get("first"));
        if OPEN.contains(&name.as_str()) || only.is_some_and(|only| only != name) {
            continue;
        }
        let open = format!(
            "SAVEPOINT locked;
             UPDATE data.users SET locked_at = now() WHERE id = '{A}';
             GRANT SELECT, INSERT, UPDATE, DELETE ON {name} TO data_user;
             CREATE POLICY mutant_select ON {name} FOR SELECT TO data_user USING (true);
             CREATE POLICY mutant_insert ON {name} FOR INSERT TO data_user WITH CHECK (true);
             CREATE POLICY mutant_update ON {name} FOR UPDATE TO data_user USING (true) WITH CHECK (true);
             CREATE POLICY mutant_delete ON {name} FOR DELETE TO data_user USING (true);"
        );
        let statements = [
            format!("SELECT {first}::text FROM {name}"),
            format!("INSERT INTO {name} DEFAULT VALUES"),
            format!("UPDATE {name} SET {first} = DEFAULT"),
            format!("DELETE FROM {name}"),
        ];
        session.execute(&open).await?;
        session.act_as("data_app");
        for locked in [true, false] {
            if !locked {
                session.execute("UPDATE data.users SET locked_at = NULL").await?;
            }
            session.begin(Some("data_user"), Caller::PersonA).await?;
            let outcomes = session.attempt_all("", &statements).await?;
            session.rollback().await?;
            for (sql, found) in statements.iter().zip(outcomes) {
                let refused = found == Outcome::Failed(LOCKED.to_owned());
                // A statement that is admitted fails later, because the first column of each table must have a value.
                let reached = match &found {
                    Outcome::Failed(code) => code.starts_with("23"),
                    found => found.reaches(),
                };
                if locked != refused || locked == reached {
                    let person = if locked { "a locked person" } else { "a person" };
                    failures.push(format!("{person}, {sql}: found {found}"));
                }
            }
        }
        session
            .execute("ROLLBACK TO SAVEPOINT locked; RELEASE SAVEPOINT locked")
            .await?;
    }
    Ok(failures)
}
