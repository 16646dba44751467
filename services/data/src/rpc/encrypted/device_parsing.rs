//! What devices say of themselves, parsed. Everything that is wrong is reported at once.

use haven_platform::{failure::Violation, fields::Fields};
use haven_proto::data::v1 as proto;

use crate::{
    domain::encrypted::device::{AppVersion, DevicePlatform, DeviceProblem, KeyPath, WrappedKey},
    rpc::parsing::unknown,
};

/// How many characters of an installation's id there are, at least and at most.
const INSTALLATION_ID: [usize; 2] = [16, 128];

/// A wrapped master key. None: it is among what is wrong.
pub(super) fn wrapped_key(octets: Vec<u8>, fields: &mut Fields) -> Option<WrappedKey> {
    or_violate(
        WrappedKey::parse(octets),
        "encrypted_master_key",
        WrappedKey::RULE,
        fields,
    )
}

/// A path of derivation. None: it is among what is wrong.
pub(super) fn key_path(path: String, fields: &mut Fields) -> Option<KeyPath> {
    or_violate(KeyPath::parse(path), "key_derivation_path", KeyPath::RULE, fields)
}

/// The version of an app. None: it is among what is wrong.
pub(super) fn app_version(version: String, fields: &mut Fields) -> Option<AppVersion> {
    or_violate(
        AppVersion::parse(version),
        "app_version",
        AppVersion::RULE,
        fields,
    )
}

/// What a device runs. None: it is among what is wrong.
pub(super) fn platform(platform: i32, fields: &mut Fields) -> Option<DevicePlatform> {
    match proto::DevicePlatform::try_from(platform) {
        Ok(proto::DevicePlatform::Ios) => return Some(DevicePlatform::Ios),
        Ok(proto::DevicePlatform::Android) => return Some(DevicePlatform::Android),
        Ok(proto::DevicePlatform::Web) => return Some(DevicePlatform::Web),
        Ok(proto::DevicePlatform::Unspecified) => {
            fields.violate(Violation::new(
                "platform",
                "REQUIRED",
                "A platform is required here",
            ));
        }
        Err(_) => fields.violate(unknown("platform")),
    }
    None
}

/// Looks at what a device calls itself, of which nothing is kept but a hash.
pub(super) fn installation_id(id: &str, fields: &mut Fields) {
    let [fewest, most] = INSTALLATION_ID;
    let checked = match id.chars().count() {
        0 => Err(DeviceProblem::Missing),
        count if count < fewest => Err(DeviceProblem::TooShort),
        count if count > most => Err(DeviceProblem::TooLong),
        _ => Ok(()),
    };
    let rule = "An installation's id has 16 to 128 characters";
    or_violate(checked, "installation_id", rule, fields);
}

/// The version of a key that a rotation is based on.
pub(super) fn expected_key_version(version: i32, fields: &mut Fields) {
    if version < 1 {
        let description = "The key version that the rotation is based on is required, 1 or more";
        fields.violate(Violation::new("expected_key_version", "REQUIRED", description));
    }
}

fn or_violate<T>(
    parsed: Result<T, DeviceProblem>,
    field: &'static str,
    rule: &'static str,
    fields: &mut Fields,
) -> Option<T> {
    parsed
        .map_err(|problem| fields.violate(Violation::new(field, problem.name(), rule)))
        .ok()
}
