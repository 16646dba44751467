//! The nine columns of an encrypted payload and its envelope, which several tables have.

use haven_platform::database::DbError;
use uuid::Uuid;

use crate::domain::encrypted::envelope::{Algorithm, Encrypted, Envelope, KeyDerivation};

/// The columns of an encrypted payload and its envelope: all of them are null, or none.
pub(in crate::store) struct EnvelopeColumns {
    pub(in crate::store) encrypted_payload: Option<Vec<u8>>,
    pub(in crate::store) algorithm: Option<String>,
    pub(in crate::store) key_id: Option<Uuid>,
    pub(in crate::store) key_version: Option<i32>,
    pub(in crate::store) nonce: Option<Vec<u8>>,
    pub(in crate::store) salt: Option<Vec<u8>>,
    pub(in crate::store) kdf_memory_kib: Option<i32>,
    pub(in crate::store) kdf_iterations: Option<i32>,
    pub(in crate::store) kdf_parallelism: Option<i32>,
}

/// Moves the [`EnvelopeColumns`] out of a row that has them as fields. `query_as!` fills flat structs only.
macro_rules! envelope_columns {
    ($row:ident) => {
        $crate::store::encrypted::EnvelopeColumns {
            encrypted_payload: $row.encrypted_payload,
            algorithm: $row.algorithm,
            key_id: $row.key_id,
            key_version: $row.key_version,
            nonce: $row.nonce,
            salt: $row.salt,
            kdf_memory_kib: $row.kdf_memory_kib,
            kdf_iterations: $row.kdf_iterations,
            kdf_parallelism: $row.kdf_parallelism,
        }
    };
}
pub(super) use envelope_columns;

impl EnvelopeColumns {
    /// Converts the columns. `None` when they are null.
    ///
    /// # Errors
    ///
    /// When some of the columns are null, or the algorithm is unknown.
    pub(in crate::store) fn content(self) -> Result<Option<Encrypted>, DbError> {
        let Some(payload) = self.encrypted_payload else {
            return Ok(None);
        };
        let envelope = || {
            Some(Envelope {
                algorithm: Algorithm::from_name(&self.algorithm?)?,
                key_id: self.key_id?,
                key_version: self.key_version?,
                nonce: self.nonce?,
                salt: self.salt?,
                key_derivation: KeyDerivation {
                    memory_kib: self.kdf_memory_kib?,
                    iterations: self.kdf_iterations?,
                    parallelism: self.kdf_parallelism?,
                },
            })
        };
        let envelope = envelope().ok_or_else(|| DbError::unexpected("an envelope"))?;
        Ok(Some(Encrypted { payload, envelope }))
    }
}
