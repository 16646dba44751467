//! The times that a role may choose are bounded, so that no statement makes a lease, a session or a wait last for ever.

use anyhow::Result;

use super::{
    caller::{A, B},
    report, seeded,
};

/// Updates of own rows, each with whether it is within the bounds. A transaction's `now()` is the time of both sides.
const UPDATES: &[(&str, &str, &str, &str, bool)] = &[
    (
        "data_worker",
        "data_service",
        "data.analysis_jobs",
        "lease_expires_at = now() + interval '10 minutes'",
        true,
    ),
    (
        "data_worker",
        "data_service",
        "data.analysis_jobs",
        "lease_expires_at = now() + interval '10 minutes 1 second'",
        false,
    ),
    (
        "data_worker",
        "data_service",
        "data.analysis_jobs",
        "lease_expires_at = 'infinity'",
        false,
    ),
    (
        "data_worker",
        "data_service",
        "data.analysis_jobs",
        "start_after = now() + interval '90 minutes'",
        true,
    ),
    (
        "data_worker",
        "data_service",
        "data.analysis_jobs",
        "start_after = 'infinity'",
        false,
    ),
    (
        "identity_worker",
        "identity_service",
        "identity.outbox",
        "next_attempt_at = now() + interval '5 minutes'",
        true,
    ),
    (
        "identity_worker",
        "identity_service",
        "identity.outbox",
        "next_attempt_at = 'infinity'",
        false,
    ),
    (
        "identity_app",
        "identity_user",
        "identity.sessions",
        "refresh_expires_at = now() + interval '30 days'",
        true,
    ),
    (
        "identity_app",
        "identity_user",
        "identity.sessions",
        "refresh_expires_at = 'infinity'",
        false,
    ),
    (
        "identity_app",
        "identity_user",
        "identity.sessions",
        "expires_at = now() + interval '15 minutes'",
        true,
    ),
    (
        "identity_app",
        "identity_user",
        "identity.sessions",
        "expires_at = 'infinity'",
        false,
    ),
];

/// Inserts of the person `$P`, each with whether it is within the bounds.
const INSERTS: &[(&str, bool)] = &[
    ("sessions (user_id, id, issued_at, expires_at, refresh_expires_at) VALUES ('$P', gen_random_uuid(), now(),
        now() + interval '15 minutes', now() + interval '30 days')", true),
    ("sessions (user_id, id, issued_at, expires_at, refresh_expires_at) VALUES ('$P', gen_random_uuid(), now(),
        'infinity', now() + interval '30 days')", false),
    ("sessions (user_id, id, issued_at, expires_at, refresh_expires_at) VALUES ('$P', gen_random_uuid(), now(),
        now() + interval '15 minutes', 'infinity')", false),
    ("refresh_tokens (user_id, id, session_id, token_hash, issued_at, expires_at) SELECT user_id, gen_random_uuid(), id,
        sha256('1'), now(), now() + interval '30 days' FROM identity.sessions LIMIT 1", true),
    ("refresh_tokens (user_id, id, session_id, token_hash, issued_at, expires_at) SELECT user_id, gen_random_uuid(), id,
        sha256('2'), now(), 'infinity' FROM identity.sessions LIMIT 1", false),
];

#[tokio::test]
async fn no_role_chooses_a_time_beyond_the_bounds() -> Result<()> {
    let database = seeded().await?;
    let mut failures = Vec::new();
    let mut attempts: Vec<(&str, &str, String, bool)> = Vec::new();
    for (login, role, table, change, within) in UPDATES {
        let rows = match *table {
            // The leased job has a lease to move.
            "data.analysis_jobs" if change.starts_with("lease") => " WHERE state = 'leased'",
            _ => "",
        };
        attempts.push((login, role, format!("UPDATE {table} SET {change}{rows}"), *within));
    }
    for (insert, within) in INSERTS {
        let insert = format!("INSERT INTO identity.{}", insert.replace("$P", B));
        attempts.push(("identity_app", "identity_user", insert, *within));
    }
    assert_ne!(A, B);
    for (login, role, statement, within) in attempts {
        let attempt = format!(
            "BEGIN; SET LOCAL ROLE {role}; SELECT set_config('request.jwt.claims', '{{\"sub\":\"{B}\"}}', true); {statement};
             ROLLBACK"
        );
        let found = database.run(login, &attempt).await;
        match (&found, within) {
            (Ok(()), true) => {}
            (Err(error), false) if format!("{error:#}").contains("row-level security") => {}
            _ => failures.push(format!("{statement}: within {within}, found {found:?}")),
        }
    }
    report(&failures)
}
