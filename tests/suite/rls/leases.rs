//! A worker reads exactly the messages in the range of its valid lease. The matrix tries one lease with every role;
//! this test follows one lease through its states.

use anyhow::Result;
use haven_testkit::{database::Database, secrets::SUPERUSER};

use super::{
    caller::{A, B, Caller, LEASE},
    report, seeded,
    session::Session,
};

/// Returns the messages that `role` sees with B's lease, as the id of their person and their number.
async fn seen(database: &Database, role: &str, login: &str) -> Result<Vec<(String, i64)>> {
    let mut session = Session::open(database, login).await?;
    session.begin(Some(role), Caller::Leaseholder).await?;
    let rows = sqlx::query_as("SELECT user_id::text, number FROM data.conversations ORDER BY 1, 2")
        .fetch_all(&mut session.connection)
        .await?;
    session.rollback().await?;
    Ok(rows)
}

#[tokio::test]
async fn a_lease_gives_access_to_its_range_while_it_is_valid() -> Result<()> {
    let database = seeded().await?;
    // More messages on both sides of the range, and messages of the other person with the same numbers.
    let more = format!(
        "INSERT INTO data.conversations
             (user_id, id, number, sender_type, message_text, key_id, created_at, updated_at)
         SELECT person::uuid, gen_random_uuid(), number, 'coach', 'gAAAA', 'test-1', now(), now()
         FROM unnest(ARRAY['{A}', '{B}']) AS person, generate_series(3, 9) AS number;
         UPDATE data.analysis_jobs SET last_number = 5 WHERE lease_digest = sha256(uuid_send('{LEASE}'))"
    );
    database.run(SUPERUSER, &more).await?;
    let range: Vec<(String, i64)> = (2..=5).map(|number| (B.to_owned(), number)).collect();
    let mut failures = Vec::new();
    for (what, sql, expected) in [
        ("while it is valid", "", &range[..]),
        (
            "after it expired",
            "UPDATE data.analysis_jobs SET lease_expires_at = now() - interval '1 ms' WHERE lease_digest IS NOT NULL",
            &[],
        ),
        (
            "after it was extended",
            "UPDATE data.analysis_jobs SET lease_expires_at = now() + interval '1 hour' WHERE lease_digest IS NOT NULL",
            &range[..],
        ),
        (
            "after its range changed",
            "UPDATE data.analysis_jobs SET first_number = 4, last_number = 4 WHERE lease_digest IS NOT NULL",
            &range[2..3],
        ),
        (
            "after the job is done",
            "UPDATE data.analysis_jobs SET state = 'done', finished_at = now(), lease_token = NULL,
                 lease_holder = NULL, lease_expires_at = NULL WHERE lease_digest IS NOT NULL",
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
        // In a person's transaction the lease has no effect.
        let found = seen(&database, "data_user", "data_app").await?;
        if !found.is_empty() {
            failures.push(format!("{what}, as data_user: found {found:?}"));
        }
    }
    report(&failures)
}
