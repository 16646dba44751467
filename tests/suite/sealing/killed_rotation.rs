//! A rotation that is killed, and two that run at the same time.

use haven_data::domain::{message, sealing::Sealed};
use haven_platform::call::UserId;
use haven_testkit::{
    Stack,
    binaries::Binaries,
    process::{OnDeath, Process, command},
};
use secrecy::ExposeSecret;
use sqlx::Connection;
use uuid::Uuid;

use super::{OLD, keys, new_key, own_keys, ring, rows_under, seed, seeded_text, superuser};
use crate::eventually::eventually;

const ROWS: i64 = 3000;

#[tokio::test]
async fn a_killed_rotation_continues_where_it_stopped() {
    let stack = Stack::start().await.unwrap();
    let ada = stack.person().await.unwrap();
    let old = own_keys(&stack);
    let both = format!("{},{old}", new_key());
    let ids = seed(&stack, &ada, &old, ROWS).await;
    // The lock keeps the rotation from finishing before it is killed.
    let mut superuser = superuser(&stack).await;
    let mut holding = superuser.begin().await.unwrap();
    sqlx::query("SELECT FROM data.conversations WHERE id = $1 FOR UPDATE")
        .bind(ids[0])
        .execute(&mut *holding)
        .await
        .unwrap();

    let directory = tempfile::tempdir().unwrap();
    let mut rotate = command(Binaries::build().unwrap().of("data"), None, OnDeath::Kill);
    rotate.args(["keys", "rotate"]).env_clear();
    rotate.envs(&stack.data.variables).env("MESSAGE_KEYS", &both);
    rotate.env("PATH", std::env::var_os("PATH").unwrap());
    let mut rotation = Process::start("rotate", rotate, &directory.path().join("log")).unwrap();
    eventually("the rotation has begun", async || {
        rows_under(&stack, "new").await > 0
    })
    .await;
    rotation.kill();
    holding.rollback().await.unwrap();
    let left = rows_under(&stack, OLD).await;
    assert!(left > 0, "the rotation was finished before it was killed");

    // Two at once: each row is sealed again by one of them, and neither waits for the other.
    let (one, other) = tokio::join!(keys(&stack, &both, "rotate"), keys(&stack, &both, "rotate"));
    assert_eq!((one.code, other.code), (Some(0), Some(0)), "{one:?} {other:?}");
    assert!(one.stdout.contains(&format!("`{OLD}` can be removed")), "{one:?}");
    assert_eq!(rows_under(&stack, OLD).await, 0);

    // Each row has its text, sealed under the new key.
    let new = ring(both.split(',').next().unwrap());
    let rows = sqlx::query_as("SELECT id, number, message_text, key_id, version FROM data.conversations");
    let rows: Vec<(Uuid, i64, String, String, i64)> = rows.fetch_all(&mut superuser).await.unwrap();
    assert_eq!(rows.len() as i64, ROWS);
    for (id, number, token, key_id, version) in rows {
        let text = new.open(message::cell(UserId::new(ada.id), id), &Sealed { token, key_id });
        assert_eq!(
            (text.unwrap().expose_secret(), version),
            (seeded_text(number).as_str(), 1)
        );
    }
}
