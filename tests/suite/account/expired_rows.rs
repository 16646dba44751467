//! Expired rows are deleted periodically, in both services. Other rows stay.

use haven_testkit::Stack;

use crate::{
    eventually::eventually,
    metrics::Metrics,
    superuser_sql::{execute, scalar},
};

/// Expired and current rows of each table. Expired ones have keys made from `old` where the table allows it.
const ROWS: &str = "
    INSERT INTO identity.users (id, goals, created_at, updated_at)
        VALUES ('018f0000-0000-7000-8000-00000000000a', '{}', now(), now());
    INSERT INTO identity.rate_limits (key, tat, emission, tolerance, admitted)
        SELECT sha256(('old' || n)::bytea), now() - interval '2 minutes', interval '1 s', interval '1 s', true FROM generate_series(1, 2) AS n
        UNION ALL SELECT sha256('new'), now() + interval '1 hour', interval '1 s', interval '1 s', true;
    INSERT INTO identity.failures (key, count, not_before)
        SELECT sha256(('old' || n)::bytea), 7, now() - interval '25 hours' FROM generate_series(1, 3) AS n
        UNION ALL SELECT sha256('new'), 7, now() - interval '23 hours';
    INSERT INTO identity.ended_sessions (digest, id, expires_at)
        SELECT sha256(n::text::bytea), gen_random_uuid(), now() - interval '11 minutes' FROM generate_series(1, 2500) AS n
        UNION ALL SELECT sha256('current'), gen_random_uuid(), now() + interval '15 minutes';
    -- Expired: over for more than a month, either ended or not refreshed. Current: ended later, though begun long ago.
    INSERT INTO identity.sessions (user_id, id, issued_at, expires_at, refresh_expires_at, ended_at, end_reason)
        SELECT '018f0000-0000-7000-8000-00000000000a', ('018f0000-0000-7000-8000-00000000000' || n)::uuid,
            now() - interval '90 days', now() - interval '89 days', now() + refresh, now() + ended,
            CASE WHEN ended IS NOT NULL THEN 'signed_out' END
        FROM (VALUES
            (1, interval '-31 days', NULL), (2, interval '30 days', interval '-31 days'),
            (3, interval '-29 days', NULL), (4, interval '30 days', interval '-29 days'),
            (5, interval '30 days', NULL)
        ) AS session (n, refresh, ended);
    INSERT INTO identity.refresh_tokens (user_id, id, session_id, token_hash, issued_at, expires_at)
        SELECT '018f0000-0000-7000-8000-00000000000a', gen_random_uuid(), '018f0000-0000-7000-8000-000000000005',
            sha256(hours::text::bytea), now() - interval '90 days', now() + hours * interval '1 hour'
        FROM unnest(ARRAY[-26, -25, -23, 1]) AS hours;
    INSERT INTO identity.requests (user_id, id, method, payload_mac, answer, created_at)
        SELECT '018f0000-0000-7000-8000-00000000000a', gen_random_uuid(), 'SignIn', sha256(''), '{}',
            now() - days * interval '1 day' FROM unnest(ARRAY[9, 8, 6, 0]) AS days;
    -- Expired: not spent, or spent so long ago that no retry comes.
    INSERT INTO identity.recovery_tokens
        (user_id, id, kind, token_hash, email, email_canonical, change_id, opened_at, issued_at, expires_at, spent_at)
        SELECT '018f0000-0000-7000-8000-00000000000a', gen_random_uuid(), kind, sha256(n::text::bytea), address, address,
            CASE WHEN kind = 'email_undo' THEN gen_random_uuid() END,
            CASE WHEN kind = 'email_undo' THEN now() - interval '20 days' END,
            now() - interval '20 days', now() + expiry, now() - interval '20 days' + spent
        FROM (VALUES
            (1, 'password_reset', NULL, interval '-2 minutes', NULL),
            (2, 'password_reset', NULL, interval '-8 days', interval '1 minute'),
            (3, 'password_reset', NULL, interval '-6 days', interval '1 minute'),
            (4, 'email_verification', NULL, interval '1 hour', NULL),
            (5, 'email_undo', 'ada@example.org', interval '-2 minutes', NULL),
            (6, 'email_undo', 'ada@example.com', interval '1 hour', NULL)
        ) AS token (n, kind, address, expiry, spent)";

/// Table, number of expired rows, number of current rows.
const EXPECTED: [(&str, f64, i64); 7] = [
    ("rate_limits", 2.0, 1),
    ("failures", 3.0, 1),
    ("ended_sessions", 2500.0, 1),
    ("sessions", 2.0, 3),
    ("refresh_tokens", 2.0, 2),
    ("requests", 2.0, 2),
    ("recovery_tokens", 3.0, 3),
];

#[tokio::test]
async fn identity_deletes_expired_rows_and_keeps_the_others() {
    let builder = Stack::builder().without("identity").without("data");
    let mut stack = builder.start().await.unwrap();
    execute(&stack.database, ROWS).await;
    stack.identity.start().await.unwrap();
    let mut superuser = stack.database.connect("postgres").await.unwrap();
    for (table, swept, left) in EXPECTED {
        let labels = [("table", table)];
        let port = stack.identity.listeners.metrics;
        eventually(&format!("{table} is swept"), async || {
            let page = Metrics::read(port).await;
            page.sum("haven_swept_rows_total", &labels) == Some(swept)
        })
        .await;
        let sql = format!("SELECT count(*) FROM identity.{table}");
        let count: i64 = sqlx::query_scalar(sqlx::AssertSqlSafe(sql))
            .fetch_one(&mut superuser)
            .await
            .unwrap();
        assert_eq!(count, left, "{table}");
    }
}

#[tokio::test]
async fn data_deletes_requests_too_old_for_a_retry_and_keeps_the_others() {
    let mut stack = Stack::builder().without("data").start().await.unwrap();
    let rows = "
        INSERT INTO data.users (id, created_at) VALUES ('018f0000-0000-7000-8000-00000000000a', now());
        INSERT INTO data.requests (user_id, id, method, payload_mac, answer, created_at)
            SELECT '018f0000-0000-7000-8000-00000000000a', gen_random_uuid(), 'AppendMessage', sha256(''), '{}',
                now() - days * interval '1 day'
            FROM generate_series(1, 1100) AS number, unnest(ARRAY[8, 9, 6]) AS days WHERE days > 7 OR number <= 2";
    execute(&stack.database, rows).await;
    stack.data.start().await.unwrap();
    let labels = [("table", "requests")];
    eventually("requests are swept", async || {
        let page = Metrics::read(stack.data.listeners.metrics).await;
        page.sum("haven_swept_rows_total", &labels) == Some(2200.0)
    })
    .await;
    let left: i64 = scalar(&stack.database, "SELECT count(*) FROM data.requests").await;
    assert_eq!(left, 2);
}
