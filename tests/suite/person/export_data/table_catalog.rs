//! The tables in the catalog compared with those that are exported and erased, so that a new table is not forgotten.

use std::collections::BTreeSet;

use haven_proto::data::v1::EraseUserRequest;
use haven_testkit::{Stack, random};

use super::{counted, export, exported};

/// The tables with rows of people that are not exported, each with the reason.
const NOT_EXPORTED: [(&str, &str); 10] = [
    ("data.change_counters", "its numbers are in the exported rows"),
    (
        "data.conversation_counters",
        "its numbers are in the exported rows",
    ),
    ("data.envelope_nonces", "recognizes used nonces"),
    ("data.erasures", "belongs to an erasure in progress"),
    ("data.purged_records", "recognizes the ids of deleted records"),
    ("data.requests", "recognizes retries"),
    ("data.share_token", "recognizes tokens"),
    ("data.tombstones", "belongs to people without data"),
    ("data.usage_counters", "counts the exported rows"),
    ("data.users", "its id and time are in the manifest"),
];

/// The tables that outlive an erasure, or have rows only during one.
const NOT_IN_A_RECEIPT: [&str; 2] = ["data.erasures", "data.tombstones"];

/// Returns the tables with rows of people.
async fn tables(stack: &Stack) -> BTreeSet<String> {
    let mut superuser = stack.database.connect("postgres").await.unwrap();
    let tables: Vec<String> = sqlx::query_scalar(
        "SELECT DISTINCT format('data.%I', c.relname)
         FROM pg_class AS c
             JOIN pg_namespace AS n ON n.oid = c.relnamespace
             JOIN pg_attribute AS a ON a.attrelid = c.oid
         WHERE n.nspname = 'data' AND c.relkind IN ('r', 'p') AND (a.attname = 'user_id' OR c.relname = 'users')",
    )
    .fetch_all(&mut superuser)
    .await
    .unwrap();
    tables.into_iter().collect()
}

#[tokio::test]
async fn every_table_of_people_is_exported_or_has_a_reason_not_to_be() {
    let stack = Stack::shared().await.unwrap();
    let ada = stack.person().await.unwrap();
    let export = export(&stack.user(&ada).unwrap()).await.unwrap();
    let exported = exported(export.manifest.as_ref().unwrap());
    let excepted = NOT_EXPORTED.map(|(table, _)| table.to_owned());
    assert!(excepted.iter().all(|table| !exported.contains_key(table)));
    let expected: BTreeSet<_> = exported.keys().cloned().chain(excepted).collect();
    assert_eq!(tables(stack).await, expected);
    // A new person has no rows; only the export itself is in the audit log.
    let mut counts = counted(&export);
    assert_eq!(exported, counts);
    assert_eq!(counts.remove("data.security_audit_log"), Some(1));
    assert!(counts.values().all(|rows| *rows == 0), "{counts:?}");
}

#[tokio::test]
async fn a_receipt_names_every_table_of_people() {
    let stack = Stack::shared().await.unwrap();
    let request = EraseUserRequest {
        user_id: stack.person().await.unwrap().id.to_string(),
        request_id: random::uuid().to_string(),
    };
    let identity = stack.service("identity").unwrap();
    let receipt = identity.person().erase_user(request).await.unwrap().into_inner();
    let named: BTreeSet<_> = receipt.erased.into_iter().map(|erased| erased.table).collect();
    let mut expected = tables(stack).await;
    expected.retain(|table| !NOT_IN_A_RECEIPT.contains(&table.as_str()));
    assert_eq!(named, expected);
}
