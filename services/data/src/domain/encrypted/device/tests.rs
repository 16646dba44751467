//! The limits of the fields that a device states about itself.

use super::*;

#[test]
fn a_wrapped_key_has_32_to_1024_bytes() {
    let parse = |bytes| WrappedKey::parse(vec![7; bytes]).map(|key| key.into_bytes().len());
    assert_eq!(parse(0), Err(DeviceProblem::Missing));
    assert_eq!(parse(1), Err(DeviceProblem::TooShort));
    assert_eq!(parse(31), Err(DeviceProblem::TooShort));
    assert_eq!(parse(32), Ok(32));
    assert_eq!(parse(1_024), Ok(1_024));
    assert_eq!(parse(1_025), Err(DeviceProblem::TooLong));
}

#[test]
fn a_derivation_path_is_m_and_up_to_12_steps() {
    let twelve = format!("m{}", "/1".repeat(12));
    let longest = format!("m/12345'{}", "/2147483647'".repeat(10));
    assert_eq!(longest.len(), KeyPath::MAX_CHARACTERS);
    for path in ["m", "m/0", "m/44'/0'/1'", "m/2147483647", &twelve, &longest] {
        assert_eq!(KeyPath::parse(path.to_owned()).unwrap().as_str(), path);
    }
    let long = format!("m{}", "/2147483647'".repeat(11));
    assert_eq!(KeyPath::parse(String::new()), Err(DeviceProblem::Missing));
    assert_eq!(KeyPath::parse(format!("{twelve}/1")), Err(DeviceProblem::TooLong));
    assert_eq!(KeyPath::parse(long), Err(DeviceProblem::TooLong));
    let wrong = [
        "M",
        "n",
        "m/",
        "/m",
        "m//1",
        "m/1/",
        "m/x",
        "m/-1",
        "m/+1",
        "m/'",
        "m/1''",
        "m/1 ",
        "m\n",
        "m/2147483648",
        "m/00000000001",
        "m/\u{661}",
        "44'/0'",
    ];
    for path in wrong {
        assert_eq!(
            KeyPath::parse(path.to_owned()),
            Err(DeviceProblem::NotAPath),
            "{path}"
        );
    }
}

#[test]
fn an_app_version_has_1_to_64_characters_of_printable_ascii() {
    let longest = "1".repeat(64);
    for version in ["1", "2.13.0 (build 7)", &longest] {
        assert_eq!(AppVersion::parse(version.to_owned()).unwrap().as_str(), version);
    }
    assert_eq!(AppVersion::parse(String::new()), Err(DeviceProblem::Missing));
    assert_eq!(AppVersion::parse("1".repeat(65)), Err(DeviceProblem::TooLong));
    for version in ["1\n", "1\0", "\u{7f}", "é"] {
        assert_eq!(
            AppVersion::parse(version.to_owned()),
            Err(DeviceProblem::NotAscii)
        );
    }
}

#[test]
fn platforms_and_statuses_are_found_by_their_stored_names() {
    for platform in [DevicePlatform::Ios, DevicePlatform::Android, DevicePlatform::Web] {
        assert_eq!(DevicePlatform::from_name(platform.name()), Some(platform));
    }
    for status in [
        DeviceStatus::Active,
        DeviceStatus::Suspended,
        DeviceStatus::Revoked,
    ] {
        assert_eq!(DeviceStatus::from_name(status.name()), Some(status));
    }
    assert_eq!(DevicePlatform::from_name("desktop"), None);
    assert_eq!(DeviceStatus::from_name(""), None);
}
