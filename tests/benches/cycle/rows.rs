//! Reads the rows of a pull directly from Postgres.

use std::time::Instant;

use anyhow::{Context, Result, ensure};
use futures_util::TryStreamExt;
use sqlx::AssertSqlSafe;

use super::{
    loaded_stack::{LoadedStack, PULLED_RECORDS, person_id},
    measure::{BEGIN, CONTEXT, LOGIN},
};

/// A COPY of the columns that a pull sends, in the order of a pull.
const ROWS: &str = "COPY (SELECT id, encrypted_payload, envelope_version, algorithm, key_id, key_version, nonce, salt, \
    kdf_memory_kib, kdf_iterations, kdf_parallelism, associated_data_version, version, device_id, local_timestamp, \
    change_number, open_conflicts, deleted_at, created_at, updated_at \
    FROM data.encrypted_cycle_data WHERE user_id = auth.uid() ORDER BY change_number) TO STDOUT (FORMAT binary)";

/// The minimum size of all rows in bytes: their payloads.
const MIN_BYTES: usize = super::loaded_stack::PAYLOAD_BYTES * PULLED_RECORDS as usize;

/// Returns the records per second of one COPY, with the same login and claims as the pull.
pub(crate) async fn copy_rate(loaded: &LoadedStack) -> Result<f64> {
    let mut connection = loaded.stack.database.connect(LOGIN).await?;
    let person = person_id(loaded.pulled_person()).to_string();
    let begin = [
        BEGIN.join("; "),
        CONTEXT.join("; ").replace(":person_id", &person),
    ]
    .join("; ");
    let start = Instant::now();
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
    let seconds = start.elapsed().as_secs_f64();
    ensure!(bytes > MIN_BYTES, "COPY returned only {bytes} bytes");
    Ok(f64::from(PULLED_RECORDS) / seconds)
}
