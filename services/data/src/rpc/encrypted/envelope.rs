//! Envelopes, as devices send them: every rule that they break is named, by the field's path.

use std::borrow::Cow;

use haven_platform::{
    failure::{Failure, Violation},
    reason::Reason,
    violations::Violations,
};
use haven_proto::data::v1::{self as proto, CryptoEnvelope, EncryptionAlgorithm};
use uuid::Uuid;

use crate::domain::encrypted::envelope::{
    Algorithm, Encrypted, Envelope, EnvelopeProblem, KeyDerivation, check_associated_data_version,
    check_envelope_version, check_key_version, check_nonce, check_payload, check_salt,
};

/// The largest payload of a record, a conflict or preferences, in bytes.
pub(super) const MOST_BYTES: usize = 65_536;

/// The largest payload of a share, in bytes.
pub(super) const MOST_SHARED_BYTES: usize = 262_144;

/// Which fields a payload and its envelope are in, and how large the payload may be.
pub(super) struct PayloadPath<'a> {
    /// What comes before them in a path: nothing, or such as `changes[3].`.
    pub(super) within: &'a str,
    /// The payload's field.
    pub(super) payload: &'static str,
    /// At most how many bytes it has.
    pub(super) most: usize,
    /// Under whose key it has to be: a device's. None: under one that the client made up.
    pub(super) device: Option<Uuid>,
}

/// A payload and its envelope. None: what is wrong with them is among `violations`.
pub(super) fn encrypted(
    payload: Vec<u8>,
    envelope: Option<CryptoEnvelope>,
    place: &PayloadPath<'_>,
    violations: &mut Violations,
) -> Option<Encrypted> {
    let mut found = Found { place, violations };
    if payload.is_empty() {
        let description = "What is encrypted is required here";
        found.add(place.payload, "REQUIRED", description);
    } else {
        found.check(place.payload, check_payload(&payload, place.most));
    }
    let Some(envelope) = envelope else {
        found.add("crypto_envelope", "REQUIRED", "An envelope is required here");
        return None;
    };
    let envelope = found.envelope(envelope)?;
    Some(Encrypted { payload, envelope })
}

/// What is wrong so far, with what is in one place.
struct Found<'a, 'b> {
    place: &'a PayloadPath<'b>,
    violations: &'a mut Violations,
}

impl Found<'_, '_> {
    /// An envelope of which every field was looked at. None: one of them has no value at all.
    fn envelope(&mut self, sent: CryptoEnvelope) -> Option<Envelope> {
        self.check_field("envelope_version", check_envelope_version(sent.envelope_version));
        let algorithm = match EncryptionAlgorithm::try_from(sent.algorithm) {
            Ok(EncryptionAlgorithm::Xchacha20Poly1305) => Some(Algorithm::XChaCha20Poly1305),
            Ok(EncryptionAlgorithm::Aes256Gcm) => Some(Algorithm::Aes256Gcm),
            Ok(EncryptionAlgorithm::Unspecified) | Err(_) => None,
        };
        self.check_field("algorithm", algorithm.map(drop).ok_or(EnvelopeProblem::Algorithm));
        let key_id = self.key_id(&sent.key_id);
        self.check_field("key_version", check_key_version(sent.key_version));
        self.check_field("nonce", check_nonce(algorithm, &sent.nonce));
        self.check_field("salt", check_salt(&sent.salt));
        let key_derivation = self.key_derivation(sent.key_derivation);
        let layout = check_associated_data_version(sent.associated_data_version);
        self.check_field("associated_data_version", layout);
        Some(Envelope {
            algorithm: algorithm?,
            key_id,
            key_version: sent.key_version,
            nonce: sent.nonce,
            salt: sent.salt,
            key_derivation: key_derivation?,
        })
    }

    fn key_id(&mut self, sent: &str) -> Uuid {
        let path = self.path("crypto_envelope.key_id");
        let key_id = self.violations.uuid(path, sent);
        // Where one of the two is no id, that is what is wrong.
        let another = |device: Uuid| !device.is_nil() && !key_id.is_nil() && device != key_id;
        if self.place.device.is_some_and(another) {
            self.check_field("key_id", Err(EnvelopeProblem::KeyOfAnotherDevice));
        }
        key_id
    }

    fn key_derivation(&mut self, sent: Option<proto::KeyDerivation>) -> Option<KeyDerivation> {
        let Some(sent) = sent else {
            let description = "How the key was derived is required here";
            self.add("crypto_envelope.key_derivation", "REQUIRED", description);
            return None;
        };
        let derivation = KeyDerivation {
            memory_kib: sent.memory_kib,
            iterations: sent.iterations,
            parallelism: sent.parallelism,
        };
        self.check_field("key_derivation.memory_kib", derivation.check_memory());
        self.check_field("key_derivation.iterations", derivation.check_iterations());
        self.check_field("key_derivation.parallelism", derivation.check_parallelism());
        Some(derivation)
    }

    fn check_field(&mut self, field: &str, checked: Result<(), EnvelopeProblem>) {
        self.check(&format!("crypto_envelope.{field}"), checked);
    }

    fn check(&mut self, field: &str, checked: Result<(), EnvelopeProblem>) {
        if let Err(problem) = checked {
            self.add(field, problem.name(), problem.description());
        }
    }

    fn add(&mut self, field: &str, name: &'static str, description: impl Into<Cow<'static, str>>) {
        let violation = Violation::new(self.path(field), name, description);
        self.violations.add(violation);
    }

    fn path(&self, field: &str) -> String {
        format!("{}{field}", self.place.within)
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

/// As [`check`]; otherwise the parsed `value`.
pub(super) fn finish<T>(violations: Violations, value: Option<T>) -> Result<T, Failure> {
    violations.finish_as(reason, value)
}

fn reason(violations: &[Violation]) -> Reason {
    let of_envelope = |violation: &Violation| {
        let last = |part: &str| violation.field.rsplit('.').next() == Some(part);
        violation.field.contains("crypto_envelope")
            || last("encrypted_payload")
            || last("encrypted_share_data")
    };
    match violations.iter().any(of_envelope) {
        true => Reason::EnvelopeInvalid,
        false => Reason::InvalidField,
    }
}

#[cfg(test)]
mod tests;
