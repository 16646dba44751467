//! Parsing of the fields that a device states about itself and its key.

use haven_platform::{failure::Violation, violations::Violations};
use haven_proto::data::v1 as proto;

use crate::domain::encrypted::device::{
    AppVersion, DevicePlatform, DeviceProblem, EncryptedLabel, KeyPath, WrappedKey,
};

/// The minimum and the maximum length of an installation id, in characters.
const INSTALLATION_ID_CHARACTERS: [usize; 2] = [16, 128];

/// Parses a wrapped master key. `None` when it is invalid, which adds a violation.
pub(super) fn wrapped_key(bytes: Vec<u8>, violations: &mut Violations) -> Option<WrappedKey> {
    or_violation(
        WrappedKey::parse(bytes),
        "encrypted_master_key",
        WrappedKey::RULE,
        violations,
    )
}

/// Parses an optional label. `None` when it is empty; also when it is invalid, which adds a violation.
pub(super) fn label(bytes: Vec<u8>, violations: &mut Violations) -> Option<EncryptedLabel> {
    if bytes.is_empty() {
        return None;
    }
    or_violation(
        EncryptedLabel::parse(bytes),
        "encrypted_label",
        EncryptedLabel::RULE,
        violations,
    )
}

/// Parses a derivation path. `None` when it is invalid, which adds a violation.
pub(super) fn key_path(path: String, violations: &mut Violations) -> Option<KeyPath> {
    or_violation(
        KeyPath::parse(path),
        "key_derivation_path",
        KeyPath::RULE,
        violations,
    )
}

/// Parses the version of an app. `None` when it is invalid, which adds a violation.
pub(super) fn app_version(version: String, violations: &mut Violations) -> Option<AppVersion> {
    or_violation(
        AppVersion::parse(version),
        "app_version",
        AppVersion::RULE,
        violations,
    )
}

/// Parses a platform. `None` when it is invalid, which adds a violation.
pub(super) fn platform(platform: i32, violations: &mut Violations) -> Option<DevicePlatform> {
    match proto::DevicePlatform::try_from(platform) {
        Ok(proto::DevicePlatform::Ios) => return Some(DevicePlatform::Ios),
        Ok(proto::DevicePlatform::Android) => return Some(DevicePlatform::Android),
        Ok(proto::DevicePlatform::Web) => return Some(DevicePlatform::Web),
        Ok(proto::DevicePlatform::Unspecified) => violations.required("platform"),
        Err(_) => violations.unknown_value("platform"),
    }
    None
}

/// Checks the length of an installation id. Only a keyed hash of the id is stored.
pub(super) fn check_installation_id(id: &str, violations: &mut Violations) {
    let [min, max] = INSTALLATION_ID_CHARACTERS;
    let checked = match id.chars().count() {
        0 => Err(DeviceProblem::Missing),
        count if count < min => Err(DeviceProblem::TooShort),
        count if count > max => Err(DeviceProblem::TooLong),
        _ => Ok(()),
    };
    let rule = "installation_id must have 16 to 128 characters";
    or_violation(checked, "installation_id", rule, violations);
}

/// Checks the key version that a rotation is based on.
pub(super) fn check_expected_key_version(version: i32, violations: &mut Violations) {
    if version < 1 {
        let description = "expected_key_version is required, and must be 1 or more";
        violations.add(Violation::new("expected_key_version", "REQUIRED", description));
    }
}

fn or_violation<T>(
    parsed: Result<T, DeviceProblem>,
    field: &'static str,
    rule: &'static str,
    violations: &mut Violations,
) -> Option<T> {
    parsed
        .map_err(|problem| violations.add(Violation::new(field, problem.name(), rule)))
        .ok()
}
