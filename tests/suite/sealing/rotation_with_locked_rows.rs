//! Key rotation while rows are locked, and while a service still seals with the old key.

use std::time::Duration;

use haven_proto::data::v1::{AppendMessageRequest, SenderType};
use haven_testkit::{Stack, random};
use sqlx::Connection;

use super::{OLD, keys, new_key, own_keys, rows_under, seed, superuser};
use crate::eventually::eventually;

#[tokio::test]
async fn a_service_that_still_seals_with_the_old_key_is_reported() {
    let stack = Stack::start().await.unwrap();
    let ada = stack.person().await.unwrap();
    let mut conversation = stack.user(&ada).unwrap().conversation();
    let writing = async {
        loop {
            let request = AppendMessageRequest {
                sender_type: SenderType::User.into(),
                text: "still under the old key".into(),
                message_id: String::new(),
                request_id: random::uuid().to_string(),
            };
            // A busy service may refuse a message; the next one follows.
            let _ = conversation.append_message(request).await;
        }
    };
    let both = format!("{},{}", new_key(), own_keys(&stack));
    let rotation = tokio::select! {
        rotation = keys(&stack, &both, "rotate") => rotation,
        () = writing => unreachable!(),
    };
    assert_eq!(rotation.code, Some(1), "{rotation:?}");
    let expected = format!("new rows keep appearing under `{OLD}`: put `new` first");
    assert!(rotation.stderr.contains(&expected), "{rotation:?}");
    assert!(rows_under(&stack, "new").await > 0);
}

#[tokio::test]
async fn a_locked_row_is_skipped_and_sealed_later() {
    let stack = Stack::start().await.unwrap();
    let ada = stack.person().await.unwrap();
    let old = own_keys(&stack);
    let ids = seed(&stack, &ada, &old, 150).await;
    let mut superuser = superuser(&stack).await;
    let mut holding = superuser.begin().await.unwrap();
    sqlx::query("SELECT FROM data.conversations WHERE id = $1 FOR UPDATE")
        .bind(ids[75])
        .execute(&mut *holding)
        .await
        .unwrap();
    let both = format!("{},{old}", new_key());
    let (rotation, ()) = tokio::time::timeout(Duration::from_secs(60), async {
        tokio::join!(keys(&stack, &both, "rotate"), async {
            eventually("all other rows are sealed with the new key", async || {
                rows_under(&stack, OLD).await == 1
            })
            .await;
            holding.rollback().await.unwrap();
        })
    })
    .await
    .expect("the rotation does not wait for a lock");
    assert_eq!(rotation.code, Some(0), "{rotation:?}");
    assert!(
        rotation.stdout.contains("150 of 150 rows resealed"),
        "{rotation:?}"
    );
    assert_eq!(rows_under(&stack, OLD).await, 0);
}

/// A row that does not open is deleted while another one is locked: the number of remaining rows equals the number of
/// those that did not open.
#[tokio::test]
async fn a_locked_row_is_not_counted_as_one_that_does_not_open() {
    let stack = Stack::start().await.unwrap();
    let ada = stack.person().await.unwrap();
    let old = own_keys(&stack);
    let ids = seed(&stack, &ada, &old, 150).await;
    let mut superuser = superuser(&stack).await;
    // The token of another row.
    sqlx::query(
        "UPDATE data.conversations SET message_text = (SELECT message_text FROM data.conversations WHERE id = $1)
        WHERE id = $2",
    )
    .bind(ids[1])
    .bind(ids[0])
    .execute(&mut superuser)
    .await
    .unwrap();
    let mut holding = superuser.begin().await.unwrap();
    sqlx::query("SELECT FROM data.conversations WHERE id = $1 FOR UPDATE")
        .bind(ids[75])
        .execute(&mut *holding)
        .await
        .unwrap();
    let both = format!("{},{old}", new_key());
    let (rotation, ()) = tokio::time::timeout(Duration::from_secs(60), async {
        tokio::join!(keys(&stack, &both, "rotate"), async {
            eventually("all other rows are sealed with the new key", async || {
                rows_under(&stack, OLD).await == 2
            })
            .await;
            sqlx::query("DELETE FROM data.conversations WHERE id = $1")
                .bind(ids[0])
                .execute(&mut *holding)
                .await
                .unwrap();
            holding.commit().await.unwrap();
        })
    })
    .await
    .expect("the rotation does not wait for a lock");
    assert_eq!(rotation.code, Some(0), "{rotation:?}");
    assert_eq!(rows_under(&stack, OLD).await, 0);
}
