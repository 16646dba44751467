//! The catalog against what is exported and erased: a table that comes later cannot be forgotten.

use std::collections::BTreeSet;

use haven_proto::data::v1::EraseUserRequest;
use haven_testkit::{Stack, random};

use super::{counted, export, exported};

/// The tables that hold rows of people and are not exported, and why.
const NOT_EXPORTED: [(&str, &str); 9] = [
    ("data.change_counters", "numbers that are in what is exported"),
    (
        "data.conversation_counters",
        "numbers that are in what is exported",
    ),
    ("data.envelope_nonces", "to know a nonce again"),
    ("data.erasures", "of an erasure that is under way"),
    ("data.purged_records", "to know the id of what was deleted again"),
    ("data.requests", "to know a retry again"),
    ("data.share_token", "to know a token again"),
    ("data.tombstones", "of who has nothing to export any more"),
    ("data.users", "an id and a time, which the manifest has"),
];

/// What is left of a person who was erased, or is there only while they are.
const NOT_IN_A_RECEIPT: [&str; 2] = ["data.erasures", "data.tombstones"];

/// The tables that hold rows of people.
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
    let stack = Stack::start().await.unwrap();
    let ada = stack.person().await.unwrap();
    let export = export(&stack.user(&ada).unwrap()).await.unwrap();
    let exported = exported(export.manifest.as_ref().unwrap());
    let excepted = NOT_EXPORTED.map(|(table, _)| table.to_owned());
    assert!(excepted.iter().all(|table| !exported.contains_key(table)));
    let expected: BTreeSet<_> = exported.keys().cloned().chain(excepted).collect();
    assert_eq!(tables(&stack).await, expected);
    // Somebody who has done nothing has nothing, but that they ask for it is written down.
    let mut nothing = counted(&export);
    assert_eq!(exported, nothing);
    assert_eq!(nothing.remove("data.security_audit_log"), Some(1));
    assert!(nothing.values().all(|rows| *rows == 0), "{nothing:?}");
}

#[tokio::test]
async fn a_receipt_names_every_table_of_people() {
    let stack = Stack::start().await.unwrap();
    let request = EraseUserRequest {
        user_id: stack.person().await.unwrap().id.to_string(),
        request_id: random::uuid().to_string(),
    };
    let identity = stack.service("identity").unwrap();
    let receipt = identity.person().erase_user(request).await.unwrap().into_inner();
    let named: BTreeSet<_> = receipt.erased.into_iter().map(|erased| erased.table).collect();
    let mut expected = tables(&stack).await;
    expected.retain(|table| !NOT_IN_A_RECEIPT.contains(&table.as_str()));
    assert_eq!(named, expected);
}
