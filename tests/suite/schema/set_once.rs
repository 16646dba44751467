//! Times that are set once: each column with the time of an event is such a time, or is listed with its reason.

use anyhow::Result;
use haven_testkit::{database::Database, secrets::SUPERUSER};

use super::empty;
use crate::rls::{A, seeded};

/// The times that may change after they were set, or may be taken back, each with the reason.
const CHANGING: &[(&str, &str)] = &[
    (
        "data.analysis_jobs.finished_at",
        "RequeueJob gives a dead job further attempts",
    ),
    (
        "data.analysis_jobs.lease_expires_at",
        "ExtendLease; the end of a lease",
    ),
    (
        "data.encrypted_cycle_data.deleted_at",
        "a conflict about a deleted record can be settled by bringing it back",
    ),
    ("data.healthcare_share.last_accessed_at", "the newest access"),
    ("data.usage_counters.mutations_reset_at", "the state of a limit"),
    ("data.usage_counters.mutations_until", "the state of a limit"),
    ("data.users.last_active_at", "the newest activity"),
    (
        "data.users.locked_at",
        "identity provisions a locked person that has an account: the lock ends",
    ),
    ("identity.sessions.refreshed_at", "the newest refresh"),
    (
        "identity.users.email_verified_at",
        "the newest proof, of the newest address",
    ),
    (
        "identity.users.graduated_at",
        "UpdateAccount moves a person to an earlier stage",
    ),
    ("identity.users.last_active_at", "the newest activity"),
    ("identity.users.password_changed_at", "the newest change"),
];

/// Returns the nullable times of both schemas: those that are set after the row was made.
async fn times(database: &Database, condition: &str) -> Result<Vec<String>> {
    let sql = format!(
        "SELECT format('%s.%I', c.oid::regclass, a.attname) FROM pg_class c
           JOIN pg_namespace n ON n.oid = c.relnamespace JOIN pg_attribute a ON a.attrelid = c.oid
          WHERE n.nspname IN ('identity', 'data') AND c.relkind = 'r' AND a.attnum > 0 AND NOT a.attisdropped
            AND a.atttypid = 'timestamptz'::regtype AND NOT a.attnotnull AND {condition}
          ORDER BY 1"
    );
    let mut superuser = database.connect(SUPERUSER).await?;
    Ok(sqlx::query_scalar(sqlx::AssertSqlSafe(sql))
        .fetch_all(&mut superuser)
        .await?)
}

#[tokio::test]
async fn every_time_that_is_set_later_is_set_once_or_is_listed_with_its_reason() -> Result<()> {
    // The trigger refuses every change of the time after it was set.
    let unguarded = "NOT EXISTS (
        SELECT FROM pg_trigger t JOIN pg_proc p ON p.oid = t.tgfoid
         WHERE t.tgrelid = c.oid AND t.tgenabled = 'O' AND p.proname = 'refuse_second_time'
           AND pg_get_triggerdef(t.oid, true) LIKE format(
               '%%BEFORE UPDATE ON %%FOR EACH ROW WHEN (old.%1$s IS NOT NULL AND new.%1$s IS DISTINCT FROM old.%1$s) EXECUTE%%',
               a.attname))";
    let database = empty().await?;
    let mut listed: Vec<&str> = CHANGING.iter().map(|(column, _)| *column).collect();
    listed.sort_unstable();
    assert_eq!(times(&database, unguarded).await?, listed);
    assert!(times(&database, "true").await?.len() >= listed.len() + 12);
    Ok(())
}

/// Statements that take back a time, or move it, each as a role that may update the column.
const CHANGES: &[(&str, &str, &str, &str)] = &[
    (
        "identity_worker",
        "identity_service",
        "identity.erasures",
        "completed_at = NULL, data_erased = NULL",
    ),
    (
        "identity_worker",
        "identity_service",
        "identity.erasures",
        "completed_at = now() + interval '1 day'",
    ),
    (
        "identity_app",
        "identity_user",
        "identity.refresh_tokens",
        "used_at = NULL",
    ),
    (
        "data_app",
        "data_user",
        "data.crisis_events",
        "acknowledged_at = NULL",
    ),
    (
        "data_worker",
        "data_service",
        "data.crisis_events",
        "resolved_at = NULL",
    ),
    (
        "data_app",
        "data_user",
        "data.cycle_data_conflicts",
        "settled_at = NULL",
    ),
];

/// Sets the times of the first person. `now()` is the time of this transaction.
const SET: &str = "
    UPDATE identity.refresh_tokens SET used_at = issued_at;
    UPDATE data.crisis_events SET acknowledged_at = now(), resolved_at = now();
    UPDATE data.cycle_data_conflicts SET settled_at = now()";

#[tokio::test]
async fn no_role_takes_back_or_moves_a_time_that_is_set() -> Result<()> {
    let database = seeded().await?;
    // A superuser may set them, and set them again.
    database.run(SUPERUSER, SET).await?;
    database.run(SUPERUSER, SET).await?;
    for (login, role, table, change) in CHANGES {
        let attempt = format!(
            "BEGIN; SET LOCAL ROLE {role}; SELECT set_config('request.jwt.claims', '{{\"sub\":\"{A}\"}}', true);
             UPDATE {table} SET {change}; COMMIT"
        );
        let error = database.run(login, &attempt).await.expect_err(change);
        let message = format!("{error:#}");
        assert!(
            message.contains("a time that is set must not change"),
            "{table}, {change}: {message}"
        );
    }
    Ok(())
}
