//! A person with many rows is erased in batches: an interrupted erasure continues, and the receipt counts all rows.

use haven_testkit::Stack;
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
    stack.identity.start().await.unwrap();

    let deletion = done(&stack, &ada).await;
    let erased = receipt(&deletion);
    assert_eq!(erased["identity.refresh_tokens"], TOKENS + 1);
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
