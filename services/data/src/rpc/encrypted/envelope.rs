//! Conversion of encrypted payloads and their envelopes from and to proto messages. Each rule that a request breaks is
//! a violation with the path of its field.

use std::borrow::Cow;

use haven_platform::{
    failure::{Failure, Violation},
    reason::Reason,
    violations::Violations,
};
use haven_proto::data::v1::{self as proto, CryptoEnvelope, EncryptionAlgorithm};
use uuid::Uuid;

use crate::domain::encrypted::envelope::{
    ASSOCIATED_DATA_VERSION, Algorithm, ENVELOPE_VERSION, Encrypted, Envelope, EnvelopeProblem,
    KeyDerivation, check_associated_data_version, check_envelope_version, check_key_version, check_nonce,
    check_payload, check_salt,
};

/// The maximum size of the payload of a record, a conflict or preferences, in bytes.
pub(super) const MAX_BYTES: usize = 65_536;

/// The maximum size of the payload of a share, in bytes.
pub(super) const MAX_SHARED_BYTES: usize = 262_144;

/// The fields of a payload and its envelope in a request, and what they have to satisfy.
pub(super) struct PayloadPath<'a> {
    /// The path of the parent message with a dot behind it, such as `changes[3].`; empty for the request itself.
    pub(super) parent: &'a str,
    /// The name of the payload's field.
    pub(super) payload: &'static str,
    /// The maximum size of the payload in bytes.
    pub(super) max_bytes: usize,
    /// The device that has the key of the payload. `None` when the key is one that the client generated.
    pub(super) device: Option<Uuid>,
}

impl PayloadPath<'_> {
    /// Creates the path of the `encrypted_payload` of a request, encrypted under the key of `device`.
    pub(super) fn of_device(device: Uuid) -> Self {
        Self {
            parent: "",
            payload: "encrypted_payload",
            max_bytes: MAX_BYTES,
            device: Some(device),
        }
    }
}

/// Parses a payload and its envelope, and adds a violation for every rule that is broken. `None` only when the envelope or a
/// field of it has no value: use the result only after [`finish`].
pub(super) fn parse(
    payload: Vec<u8>,
    envelope: Option<CryptoEnvelope>,
    path: &PayloadPath<'_>,
    violations: &mut Violations,
) -> Option<Encrypted> {
    let mut parser = Parser { path, violations };
    if payload.is_empty() {
        parser.required(path.payload);
    } else {
        parser.check(path.payload, check_payload(&payload, path.max_bytes));
    }
    let Some(envelope) = envelope else {
        parser.required("crypto_envelope");
        return None;
    };
    let envelope = parser.envelope(envelope)?;
    Some(Encrypted { payload, envelope })
}

/// Parses one envelope, and adds what is wrong to the violations.
struct Parser<'a, 'b> {
    path: &'a PayloadPath<'b>,
    violations: &'a mut Violations,
}

impl Parser<'_, '_> {
    /// Parses an envelope, checking every field. `None` when a field has no value at all.
    fn envelope(&mut self, envelope: CryptoEnvelope) -> Option<Envelope> {
        self.check_field(
            "envelope_version",
            check_envelope_version(envelope.envelope_version),
        );
        let algorithm = match EncryptionAlgorithm::try_from(envelope.algorithm) {
            Ok(EncryptionAlgorithm::Xchacha20Poly1305) => Some(Algorithm::XChaCha20Poly1305),
            Ok(EncryptionAlgorithm::Aes256Gcm) => Some(Algorithm::Aes256Gcm),
            Ok(EncryptionAlgorithm::Unspecified) | Err(_) => None,
        };
        self.check_field("algorithm", algorithm.map(drop).ok_or(EnvelopeProblem::Algorithm));
        let key_id = self.key_id(&envelope.key_id);
        self.check_field("key_version", check_key_version(envelope.key_version));
        self.check_field("nonce", check_nonce(algorithm, &envelope.nonce));
        self.check_field("salt", check_salt(&envelope.salt));
        let key_derivation = self.key_derivation(envelope.key_derivation);
        let layout = check_associated_data_version(envelope.associated_data_version);
        self.check_field("associated_data_version", layout);
        Some(Envelope {
            algorithm: algorithm?,
            key_id,
            key_version: envelope.key_version,
            nonce: envelope.nonce,
            salt: envelope.salt,
            key_derivation: key_derivation?,
        })
    }

    fn key_id(&mut self, key_id: &str) -> Uuid {
        let path = self.path("crypto_envelope.key_id");
        let key_id = self.violations.uuid(path, key_id);
        // When one of the two ids is invalid, that violation suffices.
        let is_another = |device: Uuid| !device.is_nil() && !key_id.is_nil() && device != key_id;
        if self.path.device.is_some_and(is_another) {
            self.check_field("key_id", Err(EnvelopeProblem::KeyOfAnotherDevice));
        }
        key_id
    }

    fn key_derivation(&mut self, derivation: Option<proto::KeyDerivation>) -> Option<KeyDerivation> {
        let Some(derivation) = derivation else {
            self.required("crypto_envelope.key_derivation");
            return None;
        };
        let derivation = KeyDerivation {
            memory_kib: derivation.memory_kib,
            iterations: derivation.iterations,
            parallelism: derivation.parallelism,
        };
        self.check_field("key_derivation.memory_kib", derivation.check_memory());
        self.check_field("key_derivation.iterations", derivation.check_iterations());
        self.check_field("key_derivation.parallelism", derivation.check_parallelism());
        Some(derivation)
    }

    fn check_field(&mut self, field: &str, result: Result<(), EnvelopeProblem>) {
        self.check(&format!("crypto_envelope.{field}"), result);
    }

    fn check(&mut self, field: &str, result: Result<(), EnvelopeProblem>) {
        if let Err(problem) = result {
            self.add(field, problem.name(), problem.description());
        }
    }

    fn required(&mut self, field: &str) {
        let path = self.path(field);
        self.violations.required(path);
    }

    fn add(&mut self, field: &str, name: &'static str, description: impl Into<Cow<'static, str>>) {
        let violation = Violation::new(self.path(field), name, description);
        self.violations.add(violation);
    }

    fn path(&self, field: &str) -> String {
        format!("{}{field}", self.path.parent)
    }
}

/// Fails when there is any violation.
///
/// # Errors
///
/// ENVELOPE_INVALID when a violation is about an envelope or its payload; otherwise INVALID_FIELD.
pub(super) fn check(violations: Violations) -> Result<(), Failure> {
    violations.check_as(reason)
}

/// Returns the parsed `value`, or the error of [`check`] when there are violations.
pub(super) fn finish<T>(violations: Violations, value: Option<T>) -> Result<T, Failure> {
    violations.finish_as(reason, value)
}

fn reason(violations: &[Violation]) -> Reason {
    let is_of_envelope = |violation: &Violation| {
        let last_is = |part: &str| violation.field.rsplit('.').next() == Some(part);
        violation.field.contains("crypto_envelope")
            || last_is("encrypted_payload")
            || last_is("encrypted_share_data")
    };
    match violations.iter().any(is_of_envelope) {
        true => Reason::EnvelopeInvalid,
        false => Reason::InvalidField,
    }
}

/// Converts a payload and its envelope. Both are empty when there is no content.
pub(in crate::rpc) fn content_message(content: Option<Encrypted>) -> (Vec<u8>, Option<CryptoEnvelope>) {
    match content {
        Some(content) => (content.payload, Some(envelope_message(content.envelope))),
        None => (Vec::new(), None),
    }
}

fn envelope_message(envelope: Envelope) -> CryptoEnvelope {
    let algorithm = match envelope.algorithm {
        Algorithm::XChaCha20Poly1305 => EncryptionAlgorithm::Xchacha20Poly1305,
        Algorithm::Aes256Gcm => EncryptionAlgorithm::Aes256Gcm,
    };
    CryptoEnvelope {
        envelope_version: ENVELOPE_VERSION.into(),
        algorithm: algorithm.into(),
        key_id: envelope.key_id.to_string(),
        key_version: envelope.key_version,
        nonce: envelope.nonce,
        salt: envelope.salt,
        key_derivation: Some(proto::KeyDerivation {
            memory_kib: envelope.key_derivation.memory_kib,
            iterations: envelope.key_derivation.iterations,
            parallelism: envelope.key_derivation.parallelism,
        }),
        associated_data_version: ASSOCIATED_DATA_VERSION.into(),
    }
}

#[cfg(test)]
mod tests;
