//! The client in TypeScript (`deploy/web/src/envelope`) and the reference client decrypt what the other encrypted.

use std::{
    fs,
    process::{Command, Stdio},
};

use anyhow::{Context, Result, anyhow, ensure};
use haven_proto::data::v1::{CryptoEnvelope, EncryptionAlgorithm, KeyDerivation};
use haven_testkit::{
    encryption::{ContentBinding, Kind, Secret},
    random, workspace,
};
use serde::{Deserialize, Serialize};
use uuid::Uuid;

use super::hexadecimal::{bytes, hexadecimal};

/// The lengths of the contents that are encrypted.
const LENGTHS: [usize; 4] = [0, 1, 1_000, 65_520];

/// What one client encrypted for the other. `interchange.test.ts` has the same fields.
#[derive(Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
struct Item {
    kind: u8,
    user_id: Uuid,
    record_id: Uuid,
    /// As text, because the numbers of JavaScript are too short.
    version: String,
    secret: String,
    content: String,
    payload: String,
    algorithm: i32,
    key_id: Uuid,
    key_version: i32,
    nonce: String,
    salt: String,
    memory_kib: i32,
    iterations: i32,
    parallelism: i32,
}

// === impl Item ===

impl Item {
    /// Encrypts `length` random bytes with a random secret.
    fn seal(kind: Kind, algorithm: EncryptionAlgorithm, length: usize) -> Result<Self> {
        let secret: [u8; 32] = rand::random();
        let content: Vec<u8> = (0..length).map(|_| rand::random()).collect();
        let binding = ContentBinding {
            kind,
            user_id: random::uuid(),
            record_id: random::uuid(),
            version: i64::MAX.unsigned_abs(),
        };
        let key_id = random::uuid();
        let (payload, envelope) = Secret::new(secret).seal(&content, binding, algorithm, key_id, i32::MAX)?;
        let derivation = envelope.key_derivation.context("no parameters")?;
        Ok(Self {
            kind: kind as u8,
            user_id: binding.user_id,
            record_id: binding.record_id,
            version: binding.version.to_string(),
            secret: hexadecimal(&secret),
            content: hexadecimal(&content),
            payload: hexadecimal(&payload),
            algorithm: envelope.algorithm,
            key_id,
            key_version: envelope.key_version,
            nonce: hexadecimal(&envelope.nonce),
            salt: hexadecimal(&envelope.salt),
            memory_kib: derivation.memory_kib,
            iterations: derivation.iterations,
            parallelism: derivation.parallelism,
        })
    }

    /// Decrypts the payload.
    fn open(&self) -> Result<Vec<u8>> {
        let kinds = [Kind::Record, Kind::Preferences, Kind::Share];
        let kind = kinds.into_iter().find(|kind| *kind as u8 == self.kind);
        let binding = ContentBinding {
            kind: kind.context("unknown kind")?,
            user_id: self.user_id,
            record_id: self.record_id,
            version: self.version.parse()?,
        };
        let envelope = CryptoEnvelope {
            envelope_version: 1,
            algorithm: self.algorithm,
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
        };
        let secret = bytes(&self.secret)?.try_into();
        let secret = Secret::new(secret.map_err(|_| anyhow!("the secret must have 32 bytes"))?);
        secret.open(&bytes(&self.payload)?, &envelope, binding)
    }
}

#[test]
#[ignore = "deploy/web/check runs it, with the packages of the front end"]
fn the_client_in_typescript_and_the_reference_client_decrypt_each_other() -> Result<()> {
    let mut sealed = Vec::new();
    for kind in [Kind::Record, Kind::Preferences, Kind::Share] {
        for algorithm in [
            EncryptionAlgorithm::Xchacha20Poly1305,
            EncryptionAlgorithm::Aes256Gcm,
        ] {
            for length in LENGTHS {
                sealed.push(Item::seal(kind, algorithm, length)?);
            }
        }
    }
    let directory = tempfile::tempdir()?;
    fs::write(directory.path().join("rust.json"), serde_json::to_vec(&sealed)?)?;
    let output = Command::new("node")
        .args([
            "node_modules/vitest/vitest.mjs",
            "run",
            "src/envelope/interchange.test.ts",
        ])
        .env("HAVEN_INTERCHANGE", directory.path())
        .current_dir(workspace::root().join("deploy/web"))
        .stdin(Stdio::null())
        .output()
        .context("node is needed")?;
    ensure!(
        output.status.success(),
        "the client in TypeScript failed: {}{}",
        String::from_utf8_lossy(&output.stdout),
        String::from_utf8_lossy(&output.stderr)
    );
    let answers = fs::read(directory.path().join("typescript.json")).context("the test did not run")?;
    let answers: Vec<Item> = serde_json::from_slice(&answers)?;
    assert_eq!(answers.len(), sealed.len());
    for item in answers {
        assert_eq!(
            hexadecimal(&item.open()?),
            item.content,
            "kind {}, algorithm {}",
            item.kind,
            item.algorithm
        );
    }
    Ok(())
}
