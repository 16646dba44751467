//! Reads the rows of a pull directly from Postgres, over the same TLS on loopback as the service.

use std::time::Duration;

use anyhow::{Context, Result, ensure};
use futures_util::TryStreamExt;
use sqlx::{AssertSqlSafe, PgConnection};

use super::{
    loaded_stack::{LoadedStack, PULLED_RECORDS, person_id},
    measure::{
        cpu::Meter,
        statement::{BEGIN, CONTEXT, LOGIN},
        turn::{self, Turn},
    },
};

/// A COPY of the columns that a pull sends, in the order of a pull.
const ROWS: &str = "COPY (SELECT id, encrypted_payload, envelope_version, algorithm, key_id, key_version, nonce, salt, \
    kdf_memory_kib, kdf_iterations, kdf_parallelism, associated_data_version, version, device_id, local_timestamp, \
    change_number, open_conflicts, deleted_at, created_at, updated_at \
    FROM data.encrypted_cycle_data WHERE user_id = auth.uid() ORDER BY change_number) TO STDOUT (FORMAT binary)";

/// The minimum size of all rows in bytes: their payloads.
const MIN_BYTES: usize = super::loaded_stack::PAYLOAD_BYTES * PULLED_RECORDS as usize;

/// Copies all rows again and again.
struct Copier {
    connection: PgConnection,
    begin: String,
}

/// Copies as often as possible within `turn`, on one connection with the same login and claims as the pull.
pub(crate) async fn copy(loaded: &LoadedStack, meter: &Meter, turn: Duration) -> Result<Turn> {
    let connection = loaded.stack().database.connect(LOGIN).await?;
    let person = person_id(loaded.pulled_person()).to_string();
    let context = CONTEXT.map(|statement| statement.replace(":person_id", &person));
    let begin = [BEGIN.join("; "), context.join("; ")].join("; ");
    turn::take(meter, turn, vec![Copier { connection, begin }]).await
}

impl turn::Caller for Copier {
    async fn call(&mut self) -> Result<u64> {
        sqlx::raw_sql(AssertSqlSafe(self.begin.clone()))
            .execute(&mut self.connection)
            .await?;
        let mut bytes = 0;
        let mut copy = self.connection.copy_out_raw(ROWS).await.context("COPY")?;
        while let Some(part) = copy.try_next().await? {
            bytes += part.len();
        }
        drop(copy);
        // The next transaction prepares the statement again.
        sqlx::raw_sql("COMMIT; DEALLOCATE ALL")
            .execute(&mut self.connection)
            .await?;
        ensure!(bytes > MIN_BYTES, "COPY returned only {bytes} bytes");
        Ok(PULLED_RECORDS.into())
    }
}
