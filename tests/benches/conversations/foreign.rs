//! Rows of people who never call: they only make the tables large.

use anyhow::Result;
use haven_data::domain::sealing::Sealed;
use sqlx::PgConnection;

/// The first id of a foreign person. The ids of all others are below it.
pub(crate) const FIRST_ID: &str = "00000000-0000-7000-8000-300000000000";

/// Triggers and foreign keys, which would take most of the time, are off while foreign rows are inserted.
const TRIGGERS_OFF: &str = "SET session_replication_role = replica";
const TRIGGERS_ON: &str = "SET session_replication_role = origin";

const PEOPLE: &str = "INSERT INTO data.users (id, created_at)
    SELECT ('00000000-0000-7000-8000-3' || lpad(person::text, 11, '0'))::uuid, now()
    FROM generate_series(1, $1) AS person";

const MESSAGES: &str = "INSERT INTO data.conversations
        (user_id, id, number, sender_type, message_text, key_id, created_at, updated_at)
    SELECT ('00000000-0000-7000-8000-3' || lpad(person::text, 11, '0'))::uuid, gen_random_uuid(), $2, 'user', $3, $4,
        now(), now()
    FROM generate_series(1, $1) AS person";

/// Inserts `people` foreign people.
pub(crate) async fn insert_people(superuser: &mut PgConnection, people: u32) -> Result<()> {
    sqlx::raw_sql(TRIGGERS_OFF).execute(&mut *superuser).await?;
    sqlx::query(PEOPLE)
        .bind(i64::from(people))
        .execute(&mut *superuser)
        .await?;
    sqlx::raw_sql(TRIGGERS_ON).execute(superuser).await?;
    Ok(())
}

/// Inserts the message `number` of each of `people` foreign people. They share one text, which is never read.
pub(crate) async fn insert_messages(
    superuser: &mut PgConnection,
    people: u32,
    number: u32,
    text: &Sealed,
) -> Result<()> {
    sqlx::raw_sql(TRIGGERS_OFF).execute(&mut *superuser).await?;
    sqlx::query(MESSAGES)
        .bind(i64::from(people))
        .bind(i64::from(number))
        .bind(&text.token)
        .bind(&text.key_id)
        .execute(&mut *superuser)
        .await?;
    sqlx::raw_sql(TRIGGERS_ON).execute(superuser).await?;
    Ok(())
}
