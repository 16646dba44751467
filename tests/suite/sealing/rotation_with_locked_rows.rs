//! Rotation while somebody holds rows, and while a service still seals with the old key.

use std::time::Duration;

use haven_proto::data::v1::{AppendMessageRequest, SenderType};
use haven_testkit::{Stack, random};
use sqlx::Connection;

use super::{OLD, keys, new_key, own_keys, rows_under, seed, superuser};
use crate::eventually::eventually;

#[tokio::test]
async fn a_service_that_still_seals_with_the_old_key_is_noticed() {
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
            // A machine that has much to do may refuse one; the next one comes.
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
    assert!(rotation.complaint.contains(&expected), "{rotation:?}");
    assert!(rows_under(&stack, "new").await > 0);
}

#[tokio::test]
async fn a_row_that_somebody_holds_is_not_waited_for_and_comes_later() {
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
            eventually("all the others are done", async || {
                rows_under(&stack, OLD).await == 1
            })
            .await;
            holding.rollback().await.unwrap();
        })
    })
    .await
    .expect("it waits");
    assert_eq!(rotation.code, Some(0), "{rotation:?}");
    assert!(
        rotation.said.contains("150 of 150 rows sealed anew"),
        "{rotation:?}"
    );
    assert_eq!(rows_under(&stack, OLD).await, 0);
}

/// One row that does not open was deleted, and one that does was held: as many are left as did not open.
#[tokio::test]
async fn a_row_that_somebody_holds_is_not_taken_for_one_that_does_not_open() {
    let stack = Stack::start().await.unwrap();
    let ada = stack.person().await.unwrap();
    let old = own_keys(&stack);
    let ids = seed(&stack, &ada, &old, 150).await;
    let mut superuser = superuser(&stack).await;
    // It is another row's.
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
            eventually("all the others are done", async || {
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
    .expect("it waits");
    assert_eq!(rotation.code, Some(0), "{rotation:?}");
    assert_eq!(rows_under(&stack, OLD).await, 0);
}
