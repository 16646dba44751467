//! The jobs of the analysis queue, each with one message.

use std::collections::BTreeMap;

use anyhow::Result;
use chrono::Utc;
use haven_data::domain::{key_ring::KeyRing, message::cell, sealing::Sealed};
use haven_platform::{call::UserId, config::keyed_secrets};
use haven_testkit::{Stack, random, secrets::SUPERUSER};
use sqlx::PgConnection;
use uuid::Uuid;

use super::measure::load::copy;

/// The number of jobs of each person.
pub(crate) const JOBS_OF_EACH: u32 = 100;

/// The text of each message.
const TEXT: &str =
    "I asked a question in front of everybody today, which I had put off for weeks, and it went well.";

/// The statements that put one due job for each message into the queue, in place of all earlier jobs and their results.
/// Triggers, which would take most of the time, are off.
const REFILL: [&str; 5] = [
    "SET session_replication_role = replica",
    "TRUNCATE data.analysis_jobs, data.analysis_results CASCADE",
    "INSERT INTO data.analysis_jobs
         (user_id, id, first_number, last_number, requested, priority, start_after, created_at)
     SELECT user_id, gen_random_uuid(), number, number, false, 0, now(), now() FROM data.conversations ORDER BY number, user_id",
    "SET session_replication_role = origin",
    "ANALYZE data.analysis_jobs",
];

/// Stores `people` people with [`JOBS_OF_EACH`] messages each.
pub(crate) async fn load(stack: &Stack, people: u32) -> Result<()> {
    let keys = stack.data.variables["MESSAGE_KEYS"].clone();
    let keys = KeyRing::new(&keyed_secrets(&keys.into()).map_err(anyhow::Error::msg)?)?;
    let now = Utc::now();
    let people: BTreeMap<Uuid, String> = (0..people)
        .map(|_| {
            let person = random::uuid();
            let rows = (1..=JOBS_OF_EACH).map(|number| {
                let id = random::uuid();
                let Sealed { token, key_id } = keys.seal(cell(UserId::new(person), id), TEXT, now);
                let at = now.to_rfc3339();
                format!("{person}\t{id}\t{number}\tuser\t{token}\t{key_id}\t{at}\t{at}\n")
            });
            (person, rows.collect())
        })
        .collect();
    let users = people
        .keys()
        .map(|person| Ok(format!("{person}\t{}\n", now.to_rfc3339())));
    let mut superuser = stack.database.connect(SUPERUSER).await?;
    copy(
        &mut superuser,
        "COPY data.users (id, created_at) FROM STDIN",
        users,
    )
    .await?;
    copy(
        &mut superuser,
        "COPY data.conversations (user_id, id, number, sender_type, message_text, key_id, created_at, updated_at) FROM STDIN",
        people.into_values().map(Ok),
    )
    .await?;
    sqlx::raw_sql("VACUUM (ANALYZE)").execute(&mut superuser).await?;
    Ok(())
}

/// Puts all jobs into the queue again.
pub(crate) async fn refill(superuser: &mut PgConnection) -> Result<()> {
    for statement in REFILL {
        sqlx::raw_sql(statement).execute(&mut *superuser).await?;
    }
    Ok(())
}
