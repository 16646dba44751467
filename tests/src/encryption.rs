//! The reference client for client-side encryption: it implements `proto/ENVELOPE.md`.
//!
//! The tests store real ciphertext, and decrypt what they get back.

use std::{
    collections::HashMap,
    sync::{Arc, Mutex, PoisonError},
};

use aes_gcm::{
    Aes256Gcm,
    aead::{Aead, KeyInit, Payload},
};
use anyhow::{Result, anyhow, bail, ensure};
use argon2::{Argon2, Params, Version};
use chacha20poly1305::XChaCha20Poly1305;
use haven_proto::data::v1::{CryptoEnvelope, EncryptionAlgorithm, KeyDerivation};
use uuid::Uuid;

/// The key derivation with the lowest cost that the server accepts.
pub const KEY_DERIVATION: KeyDerivation = KeyDerivation {
    memory_kib: 19_456,
    iterations: 2,
    parallelism: 1,
};

/// The kind of a content, in its associated data.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
#[repr(u8)]
pub enum Kind {
    /// A cycle record. The record id is its own id.
    Record = 1,
    /// The preferences of a user. Their record id is the user id.
    Preferences = 2,
    /// A share. Its version is 1.
    Share = 3,
}

/// The record and version that a content is bound to by its associated data.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct ContentBinding {
    /// The kind of the content.
    pub kind: Kind,
    /// The user who owns the content.
    pub user_id: Uuid,
    /// The id of the record or share; for preferences, the user id.
    pub record_id: Uuid,
    /// The version of the record that the content becomes: one more than the version that it is based on.
    pub version: u64,
}

/// A secret that only devices have: the master key of a user, or the secret of a share. Keys are derived from it.
///
/// It does not implement `Debug`, which would print the secret.
#[derive(Clone)]
pub struct Secret {
    secret: [u8; 32],
    /// The derived keys. Derivation is slow.
    keys: Arc<Mutex<Keys>>,
}

/// Derived keys by key id, key version and salt.
type Keys = HashMap<(Uuid, i32, Vec<u8>), [u8; 32]>;

/// Returns the associated data of a content: 68 bytes in version 1 of the layout.
///
/// # Errors
///
/// If `key_version` is negative.
pub fn associated_data(
    binding: ContentBinding,
    algorithm: EncryptionAlgorithm,
    key_id: Uuid,
    key_version: i32,
) -> Result<[u8; 68]> {
    let mut data = [0; 68];
    data[..6].copy_from_slice(b"HAVEN\x01");
    data[6] = binding.kind as u8;
    data[7] = u8::try_from(algorithm as i32)?;
    data[8..24].copy_from_slice(binding.user_id.as_bytes());
    data[24..40].copy_from_slice(binding.record_id.as_bytes());
    data[40..56].copy_from_slice(key_id.as_bytes());
    data[56..64].copy_from_slice(&binding.version.to_be_bytes());
    data[64..].copy_from_slice(&u32::try_from(key_version)?.to_be_bytes());
    Ok(data)
}

// === impl Secret ===

impl Secret {
    /// Generates a random secret.
    pub fn generate() -> Self {
        Self::new(rand::random())
    }

    /// Creates a secret from its bytes.
    pub fn new(secret: [u8; 32]) -> Self {
        Self {
            secret,
            keys: Arc::default(),
        }
    }

    /// Returns the secret, wrapped with a random key that is then dropped: the `encrypted_master_key` of a device.
    pub fn wrapped(&self) -> Result<Vec<u8>> {
        let nonce: [u8; 24] = rand::random();
        let device: [u8; 32] = rand::random();
        let wrapped = XChaCha20Poly1305::new(&device.into())
            .encrypt(&nonce.into(), self.secret.as_slice())
            .map_err(|_| anyhow!("the secret cannot be wrapped"))?;
        Ok([nonce.as_slice(), &wrapped].concat())
    }

    /// Encrypts `content` with a key of this secret and a random nonce. Returns the payload and its envelope.
    pub fn seal(
        &self,
        content: &[u8],
        binding: ContentBinding,
        algorithm: EncryptionAlgorithm,
        key_id: Uuid,
        key_version: i32,
    ) -> Result<(Vec<u8>, CryptoEnvelope)> {
        let nonce: [u8; 24] = rand::random();
        let nonce = match algorithm {
            EncryptionAlgorithm::Aes256Gcm => nonce[..12].to_vec(),
            _ => nonce.to_vec(),
        };
        // Each key has one salt, so that a device derives it once.
        let salt = [key_id.as_bytes().as_slice(), &key_version.to_be_bytes()].concat();
        let envelope = CryptoEnvelope {
            envelope_version: 1,
            algorithm: algorithm.into(),
            key_id: key_id.to_string(),
            key_version,
            nonce,
            salt,
            key_derivation: Some(KEY_DERIVATION),
            associated_data_version: 1,
        };
        let data = associated_data(binding, algorithm, key_id, key_version)?;
        let payload = Payload {
            msg: content,
            aad: &data,
        };
        let key = self.key(&envelope)?;
        let sealed = match algorithm {
            EncryptionAlgorithm::Xchacha20Poly1305 => {
                XChaCha20Poly1305::new(&key.into()).encrypt(envelope.nonce.as_slice().try_into()?, payload)
            }
            EncryptionAlgorithm::Aes256Gcm => {
                Aes256Gcm::new(&key.into()).encrypt(envelope.nonce.as_slice().try_into()?, payload)
            }
            EncryptionAlgorithm::Unspecified => bail!("no algorithm"),
        };
        Ok((
            sealed.map_err(|_| anyhow!("the content is too long to encrypt"))?,
            envelope,
        ))
    }

    /// Decrypts the payload `sealed`. Fails if it was changed, or was encrypted for another binding or key.
    pub fn open(&self, sealed: &[u8], envelope: &CryptoEnvelope, binding: ContentBinding) -> Result<Vec<u8>> {
        ensure!(envelope.envelope_version == 1, "unknown envelope version");
        ensure!(
            envelope.associated_data_version == 1,
            "unknown associated data version"
        );
        let algorithm = EncryptionAlgorithm::try_from(envelope.algorithm)?;
        let data = associated_data(
            binding,
            algorithm,
            Uuid::parse_str(&envelope.key_id)?,
            envelope.key_version,
        )?;
        let payload = Payload {
            msg: sealed,
            aad: &data,
        };
        let key = self.key(envelope)?;
        let opened = match algorithm {
            EncryptionAlgorithm::Xchacha20Poly1305 => {
                XChaCha20Poly1305::new(&key.into()).decrypt(envelope.nonce.as_slice().try_into()?, payload)
            }
            EncryptionAlgorithm::Aes256Gcm => {
                Aes256Gcm::new(&key.into()).decrypt(envelope.nonce.as_slice().try_into()?, payload)
            }
            EncryptionAlgorithm::Unspecified => bail!("no algorithm"),
        };
        opened.map_err(|_| {
            anyhow!("decryption failed: the payload was changed, or is bound to another content or key")
        })
    }

    /// Returns the key that `envelope` names: argon2id of this secret, the key id and the key version, with the salt
    /// and the parameters of the envelope.
    fn key(&self, envelope: &CryptoEnvelope) -> Result<[u8; 32]> {
        let id = Uuid::parse_str(&envelope.key_id)?;
        let version = envelope.key_version;
        let mut keys = self.keys.lock().unwrap_or_else(PoisonError::into_inner);
        if let Some(key) = keys.get(&(id, version, envelope.salt.clone())) {
            return Ok(*key);
        }
        let derivation = envelope.key_derivation.unwrap_or_default();
        let params = Params::new(
            derivation.memory_kib.try_into()?,
            derivation.iterations.try_into()?,
            derivation.parallelism.try_into()?,
            Some(32),
        )
        .map_err(|error| anyhow!("invalid key derivation parameters: {error}"))?;
        let secret = [self.secret.as_slice(), id.as_bytes(), &version.to_be_bytes()].concat();
        let mut key = [0; 32];
        Argon2::new(argon2::Algorithm::Argon2id, Version::V0x13, params)
            .hash_password_into(&secret, &envelope.salt, &mut key)
            .map_err(|error| anyhow!("the key derivation failed: {error}"))?;
        keys.insert((id, version, envelope.salt.clone()), key);
        Ok(key)
    }
}
