//! A worker reads the messages of exactly the range that it holds a live lease on. The matrix tries one lease by every
//! role; here one lease lives and dies.

use anyhow::Result;
use haven_testkit::{database::Database, secrets::SUPERUSER};

use super::{
    caller::{A, B, Caller, LEASE},
    intent::Intent,
    report, seeded,
    session::Session,
};

/// The messages that a worker sees with B's lease: whose, and their numbers.
async fn seen(database: &Database, role: &str, login: &str) -> Result<Vec<(String, i64)>> {
    let mut session = Session::open(database, &Intent::read(), login).await?;
    session.begin(Some(role), Caller::Leaseholder).await?;
    let rows = sqlx::query_as("SELECT user_id::text, number FROM data.conversations ORDER BY 1, 2")
        .fetch_all(&mut session.connection)
        .await?;
    session.rollback().await?;
    Ok(rows)
}

#[tokio::test]
async fn a_lease_shows_its_range_for_as_long_as_it_lives() -> Result<()> {
    let database = seeded().await?;
    // More messages on both sides of the range, and the same numbers of somebody else.
    let more = format!(
        "INSERT INTO data.conversations
             (user_id, id, number, sender_type, message_text, key_id, created_at, updated_at)
         SELECT person::uuid, gen_random_uuid(), number, 'coach', 'gAAAA', 'test-1', now(), now()
         FROM unnest(ARRAY['{A}', '{B}']) AS person, generate_series(3, 9) AS number;
         UPDATE data.analysis_jobs SET last_number = 5 WHERE lease_token = '{LEASE}'"
    );
    database.run(SUPERUSER, &more).await?;
    let range: Vec<(String, i64)> = (2..=5).map(|number| (B.to_owned(), number)).collect();
    let mut failures = Vec::new();
    for (what, sql, expected) in [
        ("while it lives", "", &range[..]),
        (
            "once it has run out",
            "UPDATE data.analysis_jobs SET lease_expires_at = now() - interval '1 ms' WHERE lease_token IS NOT NULL",
            &[],
        ),
        (
            "once it was extended",
            "UPDATE data.analysis_jobs SET lease_expires_at = now() + interval '1 hour' WHERE lease_token IS NOT NULL",
            &range[..],
        ),
        (
            "for another range",
            "UPDATE data.analysis_jobs SET first_number = 4, last_number = 4 WHERE lease_token IS NOT NULL",
            &range[2..3],
        ),
        (
            "once the job is done",
            "UPDATE data.analysis_jobs SET state = 'done', finished_at = now(), lease_token = NULL,
                 lease_holder = NULL, lease_expires_at = NULL WHERE lease_token IS NOT NULL",
            &[],
        ),
    ] {
        if !sql.is_empty() {
            database.run(SUPERUSER, sql).await?;
        }
        let found = seen(&database, "data_service", "data_worker").await?;
        if found != expected {
            failures.push(format!("{what}: expected {expected:?}, found {found:?}"));
        }
        // A person's session gains nothing by it.
        let found = seen(&database, "data_user", "data_app").await?;
        if !found.is_empty() {
            failures.push(format!("{what}, as data_user: found {found:?}"));
        }
    }
    report(&failures)
}
