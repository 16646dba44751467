//! A person with many rows is erased in batches: an interrupted erasure continues, and the receipt counts all rows.

use std::process::Command;

use haven_testkit::{Person, Stack, binaries::Binaries};
use sqlx::Connection;

use super::{
    delete_once, deletion_by, done,
    rows::{owned, receipt, traces},
};
use crate::{
    eventually::eventually,
    person::export_data::hundred_thousand_rows::{messages, records},
    superuser_sql::{execute, scalar},
    test_device::Device,
};

/// Number of messages: two full batches and a part of the third.
const MESSAGES: i64 = 8_000;

/// Number of refresh tokens: several batches.
const TOKENS: i64 = 30_000;

/// Number of records, which are erased in the same batches.
const RECORDS: i64 = 6_000;

#[tokio::test]
async fn an_erasure_continues_after_data_is_killed_between_two_batches() {
    let mut stack = Stack::start().await.unwrap();
    let ada = Device::invent(&stack).await.unwrap();
    messages(&stack, &ada.person, MESSAGES).await;
    records(&stack, &ada, RECORDS).await;
    let mut expected = owned(&stack, &ada.person).await;

    // Devices are erased after messages and after the rows that refer to devices.
    let mut holder = stack.database.connect("postgres").await.unwrap();
    let lock = "BEGIN; SELECT FROM data.device_key FOR KEY SHARE";
    sqlx::raw_sql(lock).execute(&mut holder).await.unwrap();
    let (client, request) = (stack.user(&ada.person).unwrap(), deletion_by(&ada.person));
    let call = tokio::spawn(delete_once(client, request));
    let stopped = "SELECT EXISTS (SELECT FROM data.erasures
            WHERE (erased ->> 'data.encrypted_cycle_data')::bigint = 6000
                AND (erased ->> 'data.conversations')::bigint = 4000)
        AND EXISTS (SELECT FROM pg_stat_activity
            WHERE datname = current_database() AND usename = 'data_worker' AND wait_event_type = 'Lock')";
    eventually("two batches are erased, and the third waits", async || {
        scalar(&stack.database, stopped).await
    })
    .await;
    stack.data.kill();
    call.await.unwrap().unwrap();
    holder.close().await.unwrap();
    // A message written in between is erased and counted as well.
    let insert = "INSERT INTO data.conversations
            (user_id, id, number, sender_type, message_text, key_id, created_at, updated_at)
        SELECT user_id, gen_random_uuid(), number + 1, 'user', message_text, key_id, now(), now()
        FROM data.conversations ORDER BY number DESC LIMIT 1";
    execute(&stack.database, insert).await;
    *expected.get_mut("data.conversations").unwrap() += 1;

    stack.data.start().await.unwrap();
    let deletion = done(&stack, &ada.person).await;
    let mut erased = receipt(&deletion);
    erased.retain(|table, _| table.starts_with("data."));
    expected.retain(|table, _| {
        table.starts_with("data.") && !["data.erasures", "data.tombstones"].contains(&table.as_str())
    });
    assert_eq!(erased, expected);
    let left = traces(&stack, &ada.person).await;
    assert_eq!(left, ["data.tombstones", "identity.erasures"]);
}

#[tokio::test]
async fn a_person_with_many_rows_in_identity_is_deleted_under_a_short_deadline() {
    let mut stack = Stack::start().await.unwrap();
    let ada = stack.person().await.unwrap();
    let rows = format!(
        "INSERT INTO identity.refresh_tokens (user_id, id, session_id, token_hash, issued_at, expires_at)
            SELECT s.user_id, gen_random_uuid(), s.id, sha256(n::text::bytea), now(), now() + interval '1 day'
            FROM identity.sessions AS s, generate_series(1, {TOKENS}) AS n WHERE s.user_id = '{0}';
        INSERT INTO identity.security_audit_log (user_id, number, event, refused, occurred_at, digest)
            SELECT '{0}', 1000 + n, 'sign_in', true, now(), sha256('') FROM generate_series(1, 30000) AS n;
        UPDATE identity.audit_chains SET last_number = 31000 WHERE user_id = '{0}'",
        ada.id
    );
    execute(&stack.database, &rows).await;
    // A session on another device, which is listed as ended.
    let other = stack.anonymous().unwrap();
    other.sign_in(&ada.email, &ada.password).await.unwrap();
    // The deletion of tokens waits, so the account is only marked when the service is killed.
    let mut holder = stack.database.connect("postgres").await.unwrap();
    sqlx::raw_sql("BEGIN; LOCK TABLE identity.consents IN SHARE MODE")
        .execute(&mut holder)
        .await
        .unwrap();
    let mut request = tonic::Request::new(deletion_by(&ada));
    request.set_timeout(std::time::Duration::from_secs(3));
    let answer = stack.user(&ada).unwrap().account().delete_account(request).await;
    let deletion = answer.unwrap().into_inner().deletion.unwrap();
    assert_eq!(
        deletion.state(),
        haven_proto::identity::v1::DeletionState::Pending
    );
    let listed: i64 = scalar(&stack.database, "SELECT count(*) FROM identity.ended_sessions").await;
    assert_eq!(listed, 1, "the other session");
    let anonymous = stack.anonymous().unwrap();
    assert!(anonymous.sign_in(&ada.email, &ada.password).await.is_err());
    let get = haven_proto::identity::v1::GetAccountRequest::default();
    let status = stack
        .user(&ada)
        .unwrap()
        .account()
        .get_account(get)
        .await
        .unwrap_err();
    assert_eq!(crate::status::reason(&status), "ACCOUNT_ERASED");
    stack.identity.kill();
    holder.close().await.unwrap();
    // A part of the rows goes. The end of the chain stays with what is left of the events, and nothing looks like tampering.
    for _ in 0..3 {
        erase_rows(&stack, &ada, 10_000).await;
    }
    let events = "SELECT count(*) FROM identity.security_audit_log";
    let left: i64 = scalar(&stack.database, events).await;
    assert!(
        (1..30_000).contains(&left) || tokens(&stack).await < TOKENS,
        "{left}"
    );
    let chains: i64 = scalar(&stack.database, "SELECT count(*) FROM identity.audit_chains").await;
    assert_eq!(chains, 1);
    assert_eq!(verify(&stack), Some(0));
    stack.identity.start().await.unwrap();

    let deletion = done(&stack, &ada).await;
    let erased = receipt(&deletion);
    assert_eq!(erased["identity.audit_chains"], 1);
    assert_eq!(erased["identity.refresh_tokens"], TOKENS + 2);
    assert!(erased["identity.security_audit_log"] > 30_000);
    assert_eq!(erased["identity.users"], 1);
    let left = traces(&stack, &ada).await;
    assert_eq!(left, ["data.tombstones", "identity.erasures"]);
}

#[tokio::test]
async fn an_old_receipt_loses_its_counts_and_stays() {
    let mut stack = Stack::start().await.unwrap();
    let ada = stack.person().await.unwrap();
    delete_once(stack.user(&ada).unwrap(), deletion_by(&ada))
        .await
        .unwrap();
    assert!(!receipt(&done(&stack, &ada).await).is_empty());
    execute(
        &stack.database,
        "UPDATE identity.erasures SET completed_at = now() - interval '43 days'",
    )
    .await;
    stack.identity.kill();
    stack.identity.start().await.unwrap();
    eventually("the counts are forgotten", async || {
        receipt(&done(&stack, &ada).await).is_empty()
    })
    .await;
}

/// Deletes rows of a person who is being erased, as the service does.
async fn erase_rows(stack: &Stack, person: &Person, batch: u32) {
    let sql = format!(
        "BEGIN; SELECT set_config('request.jwt.claims', '{{\"sub\":\"{}\"}}', true); SET LOCAL ROLE identity_service;
         SELECT identity.erase_rows({batch}); COMMIT",
        person.id
    );
    execute(&stack.database, &sql).await;
}

async fn tokens(stack: &Stack) -> i64 {
    scalar(&stack.database, "SELECT count(*) FROM identity.refresh_tokens").await
}

/// Returns the exit code of `identity audit verify`.
fn verify(stack: &Stack) -> Option<i32> {
    let mut command = Command::new(Binaries::build().unwrap().of("identity"));
    command.args(["audit", "verify"]).env_clear();
    let output = command.envs(&stack.identity.variables).output().unwrap();
    output.status.code()
}

/// Deletes the account of a person with too many rows for one transaction, while the service may not delete the rows.
async fn begin_erasure(stack: &mut Stack) -> Person {
    let ada = stack.person().await.unwrap();
    let rows = format!(
        "INSERT INTO identity.refresh_tokens (user_id, id, session_id, token_hash, issued_at, expires_at)
            SELECT s.user_id, gen_random_uuid(), s.id, sha256(n::text::bytea), now(), now() + interval '1 day'
            FROM identity.sessions AS s, generate_series(1, 3000) AS n WHERE s.user_id = '{}'",
        ada.id
    );
    execute(&stack.database, &rows).await;
    let refuse = "REVOKE EXECUTE ON FUNCTION identity.erase_rows(integer) FROM identity_service";
    execute(&stack.database, refuse).await;
    let mut request = tonic::Request::new(deletion_by(&ada));
    request.set_timeout(std::time::Duration::from_secs(3));
    let answer = stack.user(&ada).unwrap().account().delete_account(request).await;
    answer.unwrap();
    ada
}

#[tokio::test]
async fn an_erasure_that_cannot_delete_rows_is_tried_again_later() {
    let mut stack = Stack::start().await.unwrap();
    let ada = begin_erasure(&mut stack).await;
    let postponed = "SELECT EXISTS (SELECT FROM identity.outbox
        WHERE last_error = 'DEPENDENCY_UNAVAILABLE' AND next_attempt_at > now())";
    eventually("the message waits", async || {
        scalar(&stack.database, postponed).await
    })
    .await;
    let allow = "GRANT EXECUTE ON FUNCTION identity.erase_rows(integer) TO identity_service";
    execute(&stack.database, allow).await;
    let due = "UPDATE identity.outbox SET next_attempt_at = now()";
    execute(&stack.database, due).await;
    assert_eq!(receipt(&done(&stack, &ada).await)["identity.users"], 1);
}

#[tokio::test]
async fn migrating_down_finishes_an_erasure_in_batches() {
    let mut stack = Stack::start().await.unwrap();
    let ada = begin_erasure(&mut stack).await;
    stack.identity.kill();
    for arguments in [&["--undo-to", "20261129000300"][..], &[]] {
        let mut migrate = Command::new(Binaries::build().unwrap().of("identity"));
        migrate.arg("migrate").args(arguments).env_clear();
        migrate.env("MIGRATION_DATABASE_URL", stack.database.url("identity_owner"));
        let output = migrate.output().unwrap();
        assert!(output.status.success(), "{output:?}");
    }
    let accounts: i64 = scalar(&stack.database, "SELECT count(*) FROM identity.users").await;
    assert_eq!(accounts, 0);
    stack.identity.start().await.unwrap();
    let erased = receipt(&done(&stack, &ada).await);
    assert_eq!(erased["identity.refresh_tokens"], 3001);
    assert_eq!(erased["identity.users"], 1);
}
