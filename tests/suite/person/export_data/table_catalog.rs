//! The tables in the catalog compared with those that are exported and erased, so that no table is forgotten.

use std::collections::BTreeSet;

use haven_proto::data::v1::EraseUserRequest;
use haven_testkit::{Stack, random};

use super::{counted, export, exported};

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

/// `exports` has the decision about each column of each table.
#[tokio::test]
async fn the_manifest_of_a_new_person_has_every_exported_table_without_rows() {
    let stack = Stack::shared().await.unwrap();
    let ada = stack.person().await.unwrap();
    let export = export(&stack.user(&ada).unwrap()).await.unwrap();
    let exported = exported(export.manifest.as_ref().unwrap());
    let tables = tables(stack).await;
    assert!(
        exported.keys().all(|table| tables.contains(table)),
        "{exported:?}"
    );
    // Only the export itself is in the audit log.
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
