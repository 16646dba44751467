//! The rows of a pull, as Postgres gives them by itself.

use std::time::Instant;

use anyhow::{Context, Result, ensure};
use futures_util::TryStreamExt;
use sqlx::AssertSqlSafe;

use super::{
    measure::{BEGIN, LOGIN},
    world::{MANY, World, person_id},
};

/// What is sent of each record, in the order in which it is pulled.
const ROWS: &str = "COPY (SELECT id, encrypted_payload, envelope_version, algorithm, key_id, key_version, nonce, salt, \
    kdf_memory_kib, kdf_iterations, kdf_parallelism, associated_data_version, version, device_id, local_timestamp, \
    change_number, open_conflicts, deleted_at, created_at, updated_at \
    FROM data.encrypted_cycle_data WHERE user_id = auth.uid() ORDER BY change_number) TO STDOUT (FORMAT binary)";

/// What a row has at least: its payload.
const LEAST: usize = super::world::BYTES * MANY as usize;

/// Records a second of one COPY, as the same person by the same login.
pub(crate) async fn copied(world: &World) -> Result<f64> {
    let mut connection = world.stack.database.connect(LOGIN).await?;
    let person = person_id(world.collector()).to_string();
    let begin = BEGIN.map(|part| part.replace(":person_id", &person)).join("; ");
    let started = Instant::now();
    sqlx::raw_sql(AssertSqlSafe(begin))
        .execute(&mut connection)
        .await?;
    let mut bytes = 0;
    let mut copy = connection.copy_out_raw(ROWS).await.context("COPY")?;
    while let Some(part) = copy.try_next().await? {
        bytes += part.len();
    }
    drop(copy);
    sqlx::raw_sql("COMMIT").execute(&mut connection).await?;
    let took = started.elapsed().as_secs_f64();
    ensure!(bytes > LEAST, "{bytes} bytes are not all of it");
    Ok(f64::from(MANY) / took)
}
