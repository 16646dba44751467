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
