//! The test vectors of `proto/ENVELOPE.md`, which were made with other libraries: the reference client agrees with
//! each.

use std::fs;

use aes_gcm::{
    Aes256Gcm,
    aead::{Aead, KeyInit, Payload},
};
use anyhow::{Context, Result, anyhow, ensure};
use chacha20poly1305::XChaCha20Poly1305;
use haven_proto::data::v1::{CryptoEnvelope, EncryptionAlgorithm, KeyDerivation};
use haven_testkit::{
    encryption::{ContentBinding, Kind, Secret, associated_data},
    workspace,
};
use serde::Deserialize;
use uuid::Uuid;

use super::hexadecimal::bytes;

/// The block of vectors in the document.
#[derive(Deserialize)]
struct Vectors {
    vector: Vec<Vector>,
}

/// A vector. Its bytes are in hexadecimal.
#[derive(Deserialize)]
#[serde(deny_unknown_fields)]
struct Vector {
    kind: String,
    algorithm: String,
    user_id: Uuid,
    record_id: Uuid,
    version: u64,
    key_id: Uuid,
    key_version: i32,
    secret: String,
    salt: String,
    memory_kib: i32,
    iterations: i32,
    parallelism: i32,
    key: String,
    nonce: String,
    associated_data: String,
    content: String,
    payload: String,
}

impl Vectors {
    /// Reads the vectors from the document's only TOML block.
    fn read() -> Result<Self> {
        let document = fs::read_to_string(workspace::root().join("proto/ENVELOPE.md"))?;
        let (_, block) = document
            .split_once("```toml\n")
            .context("the document has no vectors")?;
        let (block, rest) = block
            .split_once("```")
            .context("the block of vectors does not end")?;
        ensure!(!rest.contains("```toml"), "more than one block of vectors");
        Ok(toml::from_str(block)?)
    }
}

impl Vector {
    fn kind(&self) -> Result<Kind> {
        match self.kind.as_str() {
            "record" => Ok(Kind::Record),
            "preferences" => Ok(Kind::Preferences),
            "share" => Ok(Kind::Share),
            kind => Err(anyhow!("unknown kind {kind}")),
        }
    }

    fn algorithm(&self) -> Result<EncryptionAlgorithm> {
        let name = format!("ENCRYPTION_ALGORITHM_{}", self.algorithm);
        EncryptionAlgorithm::from_str_name(&name).with_context(|| format!("unknown algorithm {name}"))
    }

    fn binding(&self) -> Result<ContentBinding> {
        Ok(ContentBinding {
            kind: self.kind()?,
            user_id: self.user_id,
            record_id: self.record_id,
            version: self.version,
        })
    }

    fn envelope(&self) -> Result<CryptoEnvelope> {
        Ok(CryptoEnvelope {
            envelope_version: 1,
            algorithm: self.algorithm()?.into(),
            key_id: self.key_id.to_string(),
            key_version: self.key_version,
            nonce: bytes(&self.nonce)?,
            salt: bytes(&self.salt)?,
            key_derivation: Some(KeyDerivation {
                memory_kib: self.memory_kib,
                iterations: self.iterations,
                parallelism: self.parallelism,
            }),
            associated_data_version: 1,
        })
    }

    fn secret(&self) -> Result<Secret> {
        let secret: [u8; 32] = bytes(&self.secret)?
            .try_into()
            .map_err(|_| anyhow!("the secret must have 32 bytes"))?;
        Ok(Secret::new(secret))
    }
}

#[test]
fn there_is_a_vector_for_each_kind_and_algorithm() -> Result<()> {
    let vectors = Vectors::read()?.vector;
    for kind in [Kind::Record, Kind::Preferences, Kind::Share] {
        for algorithm in [
            EncryptionAlgorithm::Xchacha20Poly1305,
            EncryptionAlgorithm::Aes256Gcm,
        ] {
            let found = vectors
                .iter()
                .any(|vector| vector.kind().unwrap() == kind && vector.algorithm().unwrap() == algorithm);
            assert!(found, "no vector of {kind:?} with {algorithm:?}");
        }
    }
    Ok(())
}

#[test]
fn the_reference_client_makes_the_associated_data_of_the_vectors() -> Result<()> {
    for vector in Vectors::read()?.vector {
        let data = associated_data(
            vector.binding()?,
            vector.algorithm()?,
            vector.key_id,
            vector.key_version,
        )?;
        assert_eq!(data.as_slice(), bytes(&vector.associated_data)?);
    }
    Ok(())
}

#[test]
fn the_reference_client_decrypts_the_vectors() -> Result<()> {
    for vector in Vectors::read()?.vector {
        let (secret, envelope) = (vector.secret()?, vector.envelope()?);
        let opened = secret.open(&bytes(&vector.payload)?, &envelope, vector.binding()?)?;
        assert_eq!(String::from_utf8(opened)?, vector.content);
    }
    Ok(())
}

#[test]
fn the_key_and_the_associated_data_of_a_vector_make_its_payload() -> Result<()> {
    for vector in Vectors::read()?.vector {
        let (key, nonce, data) = (
            bytes(&vector.key)?,
            bytes(&vector.nonce)?,
            bytes(&vector.associated_data)?,
        );
        let content = Payload {
            msg: vector.content.as_bytes(),
            aad: &data,
        };
        let made = match vector.algorithm()? {
            EncryptionAlgorithm::Aes256Gcm => {
                Aes256Gcm::new_from_slice(&key)?.encrypt(nonce.as_slice().try_into()?, content)
            }
            _ => XChaCha20Poly1305::new_from_slice(&key)?.encrypt(nonce.as_slice().try_into()?, content),
        };
        assert_eq!(
            made.map_err(|_| anyhow!("the cipher failed"))?,
            bytes(&vector.payload)?
        );
    }
    Ok(())
}

#[test]
fn a_payload_decrypts_under_its_own_binding_only() -> Result<()> {
    for vector in Vectors::read()?.vector {
        let (secret, payload, envelope) = (vector.secret()?, bytes(&vector.payload)?, vector.envelope()?);
        let binding = vector.binding()?;
        let another = Uuid::from_u128(1);
        let kind = match binding.kind {
            Kind::Share => Kind::Record,
            Kind::Record | Kind::Preferences => Kind::Share,
        };
        let bindings = [
            ContentBinding { kind, ..binding },
            ContentBinding {
                user_id: another,
                ..binding
            },
            ContentBinding {
                record_id: another,
                ..binding
            },
            ContentBinding {
                version: binding.version + 1,
                ..binding
            },
        ];
        for binding in bindings {
            assert!(secret.open(&payload, &envelope, binding).is_err(), "{binding:?}");
        }
        let mut altered = payload.clone();
        altered[0] ^= 1;
        assert!(secret.open(&altered, &envelope, binding).is_err());
        assert!(secret.open(&payload, &envelope, binding).is_ok());
    }
    Ok(())
}
