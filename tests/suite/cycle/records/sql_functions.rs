//! The SQL functions, as an operator calls them in psql with the role `data_user`.

use haven_proto::data::v1::CreateRecordRequest;
use haven_testkit::{Stack, random};
use sqlx::{AssertSqlSafe, Connection, PgConnection, Row, postgres::PgRow};
use uuid::Uuid;

use super::get;
use crate::test_device::Device;

/// Begins a transaction of `person`.
async fn begin<'c>(connection: &'c mut PgConnection, person: Uuid) -> sqlx::Transaction<'c, sqlx::Postgres> {
    let mut tx = connection.begin().await.unwrap();
    let claims = format!(r#"SELECT set_config('request.jwt.claims', '{{"sub": "{person}"}}', true)"#);
    let begin = format!("SET LOCAL ROLE data_user; {claims}");
    sqlx::raw_sql(AssertSqlSafe(begin))
        .execute(&mut *tx)
        .await
        .unwrap();
    tx
}

/// Returns the outcome and the version of `data.update_cycle_data_optimistic` for the content of `request` over `seen`.
async fn update(
    stack: &Stack,
    person: Uuid,
    request: CreateRecordRequest,
    seen: i64,
) -> (String, Option<i64>) {
    let mut connection = stack.database.connect("postgres").await.unwrap();
    let mut tx = begin(&mut connection, person).await;
    let envelope = request.crypto_envelope.unwrap();
    let row: PgRow = sqlx::query(
        "SELECT outcome, version FROM data.update_cycle_data_optimistic($1::uuid, $2::uuid, $3, $4, 1::smallint,
             'xchacha20_poly1305', $5, $6, $7, 19456, 2, 1, 1::smallint, '2026-11-22 12:00+00', now())",
    )
    .bind(request.device_id)
    .bind(request.record_id)
    .bind(seen)
    .bind(request.encrypted_payload)
    .bind(envelope.key_version)
    .bind(envelope.nonce)
    .bind(envelope.salt)
    .fetch_one(&mut *tx)
    .await
    .unwrap();
    tx.commit().await.unwrap();
    (row.get("outcome"), row.get("version"))
}

#[tokio::test]
async fn update_cycle_data_optimistic_updates_a_record() {
    let stack = Stack::shared().await.unwrap();
    let phone = Device::invent(stack).await.unwrap();
    let other = Device::invent(stack).await.unwrap();
    let (ada, record) = (phone.person.id, random::uuid());
    let sealed = |content: &str, version: i64| {
        let (encrypted_payload, envelope) = phone.seal(content, record, version).unwrap();
        CreateRecordRequest {
            encrypted_payload,
            crypto_envelope: Some(envelope),
            ..phone.create(record, content).unwrap()
        }
    };
    let first = sealed("the first", 1);
    let applied = |version| ("applied".to_owned(), Some(version));
    assert_eq!(update(stack, ada, first.clone(), 0).await, applied(1));
    let again = ("already_applied".to_owned(), Some(1));
    assert_eq!(update(stack, ada, first, 0).await, again);
    assert_eq!(update(stack, ada, sealed("the second", 2), 1).await, applied(2));
    // A stale update gets the current version, and changes nothing.
    let stale = ("conflict".to_owned(), Some(2));
    assert_eq!(update(stack, ada, sealed("the third", 2), 1).await, stale);
    let stored = get(&phone.client, record).await.unwrap();
    assert_eq!(
        (stored.version, phone.open(&stored).unwrap()),
        (2, "the second".to_owned())
    );
    // The device and the record of another person are not found.
    let nothing = ("no_device".to_owned(), None);
    let outcome = update(stack, other.person.id, sealed("theirs", 3), 2).await;
    assert_eq!(outcome, nothing);
    let theirs = other.create(record, "theirs").unwrap();
    assert_eq!(update(stack, other.person.id, theirs, 0).await, applied(1));
    assert_eq!(get(&phone.client, record).await.unwrap().version, 2);
}

#[tokio::test]
async fn rotate_device_key_rotates_a_key() {
    let stack = Stack::shared().await.unwrap();
    let phone = Device::invent(stack).await.unwrap();
    let other = Device::invent(stack).await.unwrap();
    let rotate = async |person: Uuid, version: i32| {
        let mut connection = stack.database.connect("postgres").await.unwrap();
        let mut tx = begin(&mut connection, person).await;
        let row = sqlx::query(
            "SELECT outcome, key_version, next_rotation_at = now() + interval '90 days' AS in_90_days
             FROM data.rotate_device_key($1, $2, sha256('wrapped'), 'm/1', now())",
        )
        .bind(phone.id)
        .bind(version)
        .fetch_one(&mut *tx)
        .await
        .unwrap();
        tx.commit().await.unwrap();
        (
            row.get::<String, _>("outcome"),
            row.get::<Option<i32>, _>("key_version"),
            row.get::<Option<bool>, _>("in_90_days"),
        )
    };
    let rotated = ("rotated".to_owned(), Some(2), Some(true));
    assert_eq!(rotate(phone.person.id, 1).await, rotated);
    let stale = rotate(phone.person.id, 1).await;
    assert_eq!((stale.0.as_str(), stale.1), ("stale", Some(2)));
    let nothing = ("not_found".to_owned(), None, None);
    assert_eq!(rotate(other.person.id, 2).await, nothing);
    // Content encrypted under the old key version is refused from now on.
    let request = phone.create(random::uuid(), "late").unwrap();
    let status = phone.client.cycle().create_record(request).await.unwrap_err();
    assert_eq!(crate::status::reason(&status), "KEY_VERSION_STALE");
}
