//! The composite type `data.cycle_change`, in which the SQL functions take changes.
//!
//! sqlx looks up the type's OID once per connection, with one more round trip to Postgres.

use chrono::{DateTime, Utc};
use sqlx::postgres::{PgHasArrayType, PgTypeInfo};
use uuid::Uuid;

use crate::domain::encrypted::{
    change::Change,
    envelope::{ASSOCIATED_DATA_VERSION, ENVELOPE_VERSION},
};

/// The name of the type in SQL.
const NAME: &str = "data.cycle_change";

/// A change as a parameter of a statement. The fields are in the order of the type in SQL.
#[derive(sqlx::Encode)]
pub(super) struct CycleChange<'a> {
    record_id: Uuid,
    expected_version: i64,
    deleted: bool,
    encrypted_payload: Option<&'a [u8]>,
    envelope_version: Option<i16>,
    algorithm: Option<&'a str>,
    key_version: Option<i32>,
    nonce: Option<&'a [u8]>,
    salt: Option<&'a [u8]>,
    kdf_memory_kib: Option<i32>,
    kdf_iterations: Option<i32>,
    kdf_parallelism: Option<i32>,
    associated_data_version: Option<i16>,
    local_timestamp: Option<DateTime<Utc>>,
    conflict_id: Option<Uuid>,
}

impl<'a> From<&'a Change> for CycleChange<'a> {
    fn from(change: &'a Change) -> Self {
        let content = change.content.as_ref();
        let envelope = content.map(|content| &content.envelope);
        let derivation = envelope.map(|envelope| envelope.key_derivation);
        Self {
            record_id: change.record_id,
            expected_version: change.expected_version,
            deleted: content.is_none(),
            encrypted_payload: content.map(|content| content.payload.as_slice()),
            envelope_version: content.map(|_| ENVELOPE_VERSION),
            algorithm: envelope.map(|envelope| envelope.algorithm.name()),
            key_version: envelope.map(|envelope| envelope.key_version),
            nonce: envelope.map(|envelope| envelope.nonce.as_slice()),
            salt: envelope.map(|envelope| envelope.salt.as_slice()),
            kdf_memory_kib: derivation.map(|derivation| derivation.memory_kib),
            kdf_iterations: derivation.map(|derivation| derivation.iterations),
            kdf_parallelism: derivation.map(|derivation| derivation.parallelism),
            associated_data_version: content.map(|_| ASSOCIATED_DATA_VERSION),
            local_timestamp: change.local_time,
            conflict_id: change.conflict_id,
        }
    }
}

impl sqlx::Type<sqlx::Postgres> for CycleChange<'_> {
    fn type_info() -> PgTypeInfo {
        PgTypeInfo::with_name(NAME)
    }
}

impl PgHasArrayType for CycleChange<'_> {
    fn array_type_info() -> PgTypeInfo {
        PgTypeInfo::array_of(NAME)
    }
}
