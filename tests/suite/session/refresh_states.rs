//! What `identity.refresh_session_1` decides by the times of a token and of its session.

use haven_testkit::{Stack, secrets::SUPERUSER};
use sqlx::{AssertSqlSafe, Row, raw_sql};

/// The deadline of a call that came late, for which nothing is decided.
const LATE: &str = "clock_timestamp() - interval '1 microsecond'";

/// Changes of the token `t` or of its session `s` at the time of the refresh, and the outcome.
const STATES: [(&str, &str, &str); 13] = [
    ("an unused token", "", "refreshed"),
    (
        "a token of a replica with a clock that is ahead",
        "UPDATE t SET issued_at = date_trunc('second', now()) + interval '5 minutes'; UPDATE s SET issued_at = date_trunc('second', now()) + interval '5 minutes'",
        "refreshed later",
    ),
    (
        "a token that expires in a moment",
        "UPDATE t SET expires_at = clock_timestamp() + interval '5 seconds'",
        "refreshed",
    ),
    (
        "an expired token",
        "UPDATE t SET expires_at = now() - interval '1 microsecond'",
        "expired",
    ),
    (
        "a token that was used, and has expired",
        "UPDATE t SET expires_at = now() - interval '1 microsecond', used_at = now() - interval '1 minute'",
        "expired",
    ),
    (
        "a token that was used five seconds ago",
        "UPDATE t SET used_at = now() - interval '5 seconds'",
        "again",
    ),
    (
        "a token that was used by the clock of a server that was ahead, before a failover",
        "UPDATE t SET used_at = now() + interval '1 minute'",
        "again",
    ),
    (
        "a token that was used more than ten seconds ago",
        "UPDATE t SET used_at = now() - interval '10 seconds 1 microsecond'",
        "reused",
    ),
    (
        "a session that ended",
        "UPDATE s SET ended_at = now(), end_reason = 'signed_out'",
        "ended",
    ),
    ("an unused token, after the deadline", "", "late"),
    (
        "a token that was used more than ten seconds ago, after the deadline",
        "UPDATE t SET used_at = now() - interval '11 seconds'",
        "late",
    ),
    ("a token that is gone", "DELETE FROM t", "unknown"),
    ("a session that is gone", "DELETE FROM s", "unknown"),
];

#[tokio::test]
async fn a_refresh_goes_by_the_clock_of_postgres() {
    let stack = Stack::shared().await.unwrap();
    let ada = stack.person().await.unwrap();
    let mut superuser = stack.database.connect(SUPERUSER).await.unwrap();
    for (state, changes, expected) in STATES {
        let mut batch = format!(
            "BEGIN;
             UPDATE identity.refresh_tokens SET issued_at = issued_at - interval '1 hour' WHERE user_id = '{id}';
             UPDATE identity.sessions SET issued_at = issued_at - interval '1 hour' WHERE user_id = '{id}';",
            id = ada.id
        );
        for change in changes.split("; ").filter(|change| !change.is_empty()) {
            let change = change.replace("UPDATE t ", "UPDATE identity.refresh_tokens ");
            let change = change.replace("UPDATE s ", "UPDATE identity.sessions ");
            let change = change.replace("FROM t", "FROM identity.refresh_tokens");
            let change = change.replace("FROM s", "FROM identity.sessions");
            batch.push_str(&format!("{change} WHERE user_id = '{}';", ada.id));
        }
        batch.push_str(&format!(
            "SET LOCAL SESSION AUTHORIZATION identity_app;
             SELECT outcome, refreshed.issued_at > clock_timestamp() AS is_later,
                 refreshed.issued_at = date_trunc('second', refreshed.issued_at)
                     AND refreshed.expires_at - refreshed.issued_at = interval '15 minutes'
                     AND refreshed.refresh_expires_at - refreshed.issued_at = interval '720 hours' AS is_exact
             FROM identity.refresh_session_1('{}', '{}', '{}', '{{}}', '{{}}', gen_random_uuid(), sha256('next'),
                 '10 seconds', '15 minutes', '720 hours', NULL, NULL, '{{}}', '{{}}', '{{}}',
                 {}) AS refreshed;",
            ada.id,
            ada.session_id,
            token_of(stack, ada.id).await,
            match expected {
                "late" => LATE,
                _ => "clock_timestamp() + interval '1 minute'",
            },
        ));
        let row = raw_sql(AssertSqlSafe(batch))
            .fetch_one(&mut superuser)
            .await
            .unwrap();
        let outcome: String = row.get("outcome");
        let is_later = row.get::<Option<bool>, _>("is_later") == Some(true);
        if outcome == "refreshed" {
            assert!(
                row.get::<bool, _>("is_exact"),
                "{state}: in whole seconds, with the lifetimes"
            );
        }
        let outcome = match is_later {
            true => format!("{outcome} later"),
            false => outcome,
        };
        assert_eq!(outcome, expected, "{state}");
        raw_sql("ROLLBACK").execute(&mut superuser).await.unwrap();
    }
}

/// Returns the id of the person's only refresh token.
async fn token_of(stack: &Stack, person: uuid::Uuid) -> uuid::Uuid {
    let sql = "SELECT id FROM identity.refresh_tokens WHERE user_id = $1";
    crate::superuser_sql::scalar_with(&stack.database, sql, person).await
}
