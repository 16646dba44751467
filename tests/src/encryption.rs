//! The reference client for what people's devices encrypt: `proto/ENVELOPE.md`, as a program.
//!
//! It is small, and it is real: what the tests store is ciphertext, and what comes back is opened.

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

/// The cheapest key derivation that the server lets pass.
pub const KEY_DERIVATION: KeyDerivation = KeyDerivation {
    memory_kib: 19_456,
    iterations: 2,
    parallelism: 1,
};

/// What something is, in its associated data.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
#[repr(u8)]
pub enum Kind {
    /// A cycle record.
    Record = 1,
    /// A person's preferences. Their record id is the person's.
    Preferences = 2,
    /// A share. Its version is 1.
    Share = 3,
}

/// Where a content belongs: what its associated data says beside how it is encrypted.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct ContentBinding {
    /// What it is.
    pub kind: Kind,
    /// Whose it is.
    pub user_id: Uuid,
    /// The id of the record, or of what else it is.
    pub record_id: Uuid,
    /// The version that it makes: one more than the one that it is based on.
    pub version: u64,
}

/// A secret that only people's devices have: a person's master key, or the key of a share. Every key comes of it.
///
/// There is no `Debug`: it would show the secret.
#[derive(Clone)]
pub struct Secret {
    secret: [u8; 32],
    /// Keys, which take a while to derive, by their id, version and salt.
    keys: Arc<Mutex<Keys>>,
}

type Keys = HashMap<(Uuid, i32, Vec<u8>), [u8; 32]>;

/// The associated data of a content: 68 bytes, version 1 of their layout.
pub fn associated_data(
    place: ContentBinding,
    algorithm: EncryptionAlgorithm,
    key_id: Uuid,
    key_version: i32,
) -> Result<[u8; 68]> {
    let mut data = [0; 68];
    data[..6].copy_from_slice(b"HAVEN\x01");
    data[6] = place.kind as u8;
    data[7] = u8::try_from(algorithm as i32)?;
    data[8..24].copy_from_slice(place.user_id.as_bytes());
    data[24..40].copy_from_slice(place.record_id.as_bytes());
    data[40..56].copy_from_slice(key_id.as_bytes());
    data[56..64].copy_from_slice(&place.version.to_be_bytes());
    data[64..].copy_from_slice(&u32::try_from(key_version)?.to_be_bytes());
    Ok(data)
}

// === impl Secret ===

impl Secret {
    /// A new one.
    pub fn generate() -> Self {
        Self::new(rand::random())
    }

    /// A known one.
    pub fn new(secret: [u8; 32]) -> Self {
        Self {
            secret,
            keys: Arc::default(),
        }
    }

    /// The secret, wrapped under another that never leaves the device: what the server keeps as a master key.
    pub fn wrapped(&self) -> Result<Vec<u8>> {
        let nonce: [u8; 24] = rand::random();
        let device: [u8; 32] = rand::random();
        let sealed = XChaCha20Poly1305::new(&device.into())
            .encrypt(&nonce.into(), self.secret.as_slice())
            .map_err(|_| anyhow!("nothing can be wrapped"))?;
        Ok([nonce.as_slice(), &sealed].concat())
    }

    /// Encrypts `content` under a key of this secret, with a fresh nonce.
    pub fn seal(
        &self,
        content: &[u8],
        place: ContentBinding,
        algorithm: EncryptionAlgorithm,
        key_id: Uuid,
        key_version: i32,
    ) -> Result<(Vec<u8>, CryptoEnvelope)> {
        let nonce: [u8; 24] = rand::random();
        let nonce = match algorithm {
            EncryptionAlgorithm::Aes256Gcm => nonce[..12].to_vec(),
            _ => nonce.to_vec(),
        };
        // One salt for each key, so that a device derives it once.
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
        let data = associated_data(place, algorithm, key_id, key_version)?;
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
        Ok((sealed.map_err(|_| anyhow!("too much to encrypt"))?, envelope))
    }

    /// Decrypts what was sealed for `place`: not what belongs anywhere else.
    pub fn open(&self, sealed: &[u8], envelope: &CryptoEnvelope, place: ContentBinding) -> Result<Vec<u8>> {
        ensure!(envelope.envelope_version == 1, "an envelope of another version");
        ensure!(
            envelope.associated_data_version == 1,
            "associated data of another version"
        );
        let algorithm = EncryptionAlgorithm::try_from(envelope.algorithm)?;
        let data = associated_data(
            place,
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
        opened.map_err(|_| anyhow!("this does not open: it was changed, or belongs elsewhere"))
    }

    /// The key that an envelope names: argon2id of this secret, the key's id and its version, with the envelope's salt and
    /// parameters.
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
        .map_err(|error| anyhow!("a key derivation that cannot be: {error}"))?;
        let secret = [self.secret.as_slice(), id.as_bytes(), &version.to_be_bytes()].concat();
        let mut key = [0; 32];
        Argon2::new(argon2::Algorithm::Argon2id, Version::V0x13, params)
            .hash_password_into(&secret, &envelope.salt, &mut key)
            .map_err(|error| anyhow!("a key cannot be derived: {error}"))?;
        keys.insert((id, version, envelope.salt.clone()), key);
        Ok(key)
    }
}
