//! What devices say of themselves, parsed. Everything that is wrong is reported at once.

use haven_platform::{failure::Violation, violations::Violations};
use haven_proto::data::v1 as proto;

use crate::domain::encrypted::device::{AppVersion, DevicePlatform, DeviceProblem, KeyPath, WrappedKey};

/// How many characters of an installation's id there are, at least and at most.
const INSTALLATION_ID: [usize; 2] = [16, 128];

/// A wrapped master key. None: it is among what is wrong.
pub(super) fn wrapped_key(bytes: Vec<u8>, violations: &mut Violations) -> Option<WrappedKey> {
    or_violate(
        WrappedKey::parse(bytes),
        "encrypted_master_key",
        WrappedKey::RULE,
        violations,
    )
}

/// A path of derivation. None: it is among what is wrong.
pub(super) fn key_path(path: String, violations: &mut Violations) -> Option<KeyPath> {
    or_violate(
        KeyPath::parse(path),
        "key_derivation_path",
        KeyPath::RULE,
        violations,
    )
}

/// The version of an app. None: it is among what is wrong.
pub(super) fn app_version(version: String, violations: &mut Violations) -> Option<AppVersion> {
    or_violate(
        AppVersion::parse(version),
        "app_version",
        AppVersion::RULE,
        violations,
    )
}

/// What a device runs. None: it is among what is wrong.
pub(super) fn platform(platform: i32, violations: &mut Violations) -> Option<DevicePlatform> {
    match proto::DevicePlatform::try_from(platform) {
        Ok(proto::DevicePlatform::Ios) => return Some(DevicePlatform::Ios),
        Ok(proto::DevicePlatform::Android) => return Some(DevicePlatform::Android),
        Ok(proto::DevicePlatform::Web) => return Some(DevicePlatform::Web),
        Ok(proto::DevicePlatform::Unspecified) => {
            violations.add(Violation::new(
                "platform",
                "REQUIRED",
                "A platform is required here",
            ));
        }
        Err(_) => violations.unknown_value("platform"),
    }
    None
}

/// Looks at what a device calls itself, of which nothing is kept but a hash.
pub(super) fn installation_id(id: &str, violations: &mut Violations) {
    let [fewest, most] = INSTALLATION_ID;
    let checked = match id.chars().count() {
        0 => Err(DeviceProblem::Missing),
        count if count < fewest => Err(DeviceProblem::TooShort),
        count if count > most => Err(DeviceProblem::TooLong),
        _ => Ok(()),
    };
    let rule = "An installation's id has 16 to 128 characters";
    or_violate(checked, "installation_id", rule, violations);
}

/// The version of a key that a rotation is based on.
pub(super) fn expected_key_version(version: i32, violations: &mut Violations) {
    if version < 1 {
        let description = "The key version that the rotation is based on is required, 1 or more";
        violations.add(Violation::new("expected_key_version", "REQUIRED", description));
    }
}

fn or_violate<T>(
    parsed: Result<T, DeviceProblem>,
    field: &'static str,
    rule: &'static str,
    violations: &mut Violations,
) -> Option<T> {
    parsed
        .map_err(|problem| violations.add(Violation::new(field, problem.name(), rule)))
        .ok()
}
