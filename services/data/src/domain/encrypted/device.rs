//! A person's devices, and the fields that a device states about itself and its key.

use chrono::{DateTime, Utc};
use uuid::Uuid;

/// A person's device, and what the server knows about its key.
#[derive(Clone)]
pub struct Device {
    /// The device's id, which is also the id of its key.
    pub id: Uuid,
    /// The operating platform of the device.
    pub platform: DevicePlatform,
    /// The version of the app on the device.
    pub app_version: String,
    /// The person's master key, wrapped by the device. `None` when the device is revoked, or its key was rotated since
    /// the request that is answered.
    pub wrapped_key: Option<Vec<u8>>,
    /// The derivation path of the device's key from the master key.
    pub key_derivation_path: String,
    /// The version of the device's key: 1, and one more with each rotation.
    pub key_version: i32,
    /// The time at which the next rotation of the key is due.
    pub next_rotation_at: DateTime<Utc>,
    /// The status: active, suspended or revoked.
    pub status: DeviceStatus,
    /// The time of the device's last activity.
    pub last_active_at: DateTime<Utc>,
    /// The number of the last change that the device has acknowledged.
    pub acknowledged_number: i64,
    /// The time of registration.
    pub created_at: DateTime<Utc>,
    /// The person's name for the device, encrypted by their devices. `None` when there is none.
    pub label: Option<Vec<u8>>,
}

/// The operating platform of a device.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum DevicePlatform {
    /// A device that runs iOS.
    Ios,
    /// A device that runs Android.
    Android,
    /// A web browser on any operating system.
    Web,
}

/// The status of a device.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum DeviceStatus {
    /// The device may make calls.
    Active,
    /// The device may make no calls until its key is rotated.
    Suspended,
    /// The device may never make calls again.
    Revoked,
}

/// A master key wrapped by a device: [`WrappedKey::MIN_BYTES`] to [`WrappedKey::MAX_BYTES`] bytes.
///
/// The type has no `Debug`: a person's keys must not appear in a log, wrapped or not.
#[derive(Clone)]
pub struct WrappedKey(Vec<u8>);

/// A person's name for a device, encrypted by their devices: [`EncryptedLabel::MIN_BYTES`] to [`EncryptedLabel::MAX_BYTES`]
/// bytes.
///
/// The type has no `Debug`, like [`WrappedKey`].
#[derive(Clone)]
pub struct EncryptedLabel(Vec<u8>);

/// The derivation path of a device's key from the master key (after BIP 32): `m` and up to [`KeyPath::MAX_STEPS`]
/// steps, each a number below 2^31 with or without an apostrophe.
///
/// ```
/// use haven_data::domain::encrypted::device::KeyPath;
///
/// assert!(KeyPath::parse("m/44'/0'/1'".to_owned()).is_ok());
/// assert!(KeyPath::parse("44'/0'".to_owned()).is_err());
/// ```
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct KeyPath(String);

/// The version of an app: 1 to [`AppVersion::MAX_CHARACTERS`] characters of printable ASCII.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct AppVersion(String);

/// The rule that a field of a device breaks.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum DeviceProblem {
    /// The field is empty.
    Missing,
    /// The value is too short.
    TooShort,
    /// The value is too long.
    TooLong,
    /// The value has characters outside printable ASCII.
    NotAscii,
    /// The value is not a derivation path.
    NotAPath,
}

// === impl Device ===

impl Device {
    /// The age at which the rotation of a key is due, in days.
    pub const ROTATION_DAYS: i64 = 90;

    /// Returns whether the rotation of the device's key is due at `now`.
    #[must_use]
    pub fn rotation_overdue(&self, now: DateTime<Utc>) -> bool {
        self.next_rotation_at <= now
    }
}

// === impl DevicePlatform ===

impl DevicePlatform {
    /// Returns the name under which the value is stored.
    #[must_use]
    pub fn name(self) -> &'static str {
        match self {
            Self::Ios => "ios",
            Self::Android => "android",
            Self::Web => "web",
        }
    }

    /// Returns the platform with this stored name; `None` when there is none.
    #[must_use]
    pub fn from_name(name: &str) -> Option<Self> {
        [Self::Ios, Self::Android, Self::Web]
            .into_iter()
            .find(|platform| platform.name() == name)
    }
}

// === impl DeviceStatus ===

impl DeviceStatus {
    /// Returns the name under which the value is stored.
    #[must_use]
    pub fn name(self) -> &'static str {
        match self {
            Self::Active => "active",
            Self::Suspended => "suspended",
            Self::Revoked => "revoked",
        }
    }

    /// Returns the status with this stored name; `None` when there is none.
    #[must_use]
    pub fn from_name(name: &str) -> Option<Self> {
        [Self::Active, Self::Suspended, Self::Revoked]
            .into_iter()
            .find(|status| status.name() == name)
    }
}

// === impl WrappedKey ===

impl WrappedKey {
    /// The minimum size in bytes: that of an unwrapped key of 256 bits.
    pub const MIN_BYTES: usize = 32;
    /// The maximum size in bytes.
    pub const MAX_BYTES: usize = 1_024;
    /// The description of the violation.
    pub const RULE: &'static str = "encrypted_master_key must have 32 to 1024 bytes";

    /// Parses a wrapped key.
    ///
    /// # Errors
    ///
    /// Missing, TooShort or TooLong.
    pub fn parse(bytes: Vec<u8>) -> Result<Self, DeviceProblem> {
        match bytes.len() {
            0 => Err(DeviceProblem::Missing),
            1..Self::MIN_BYTES => Err(DeviceProblem::TooShort),
            Self::MIN_BYTES..=Self::MAX_BYTES => Ok(Self(bytes)),
            _ => Err(DeviceProblem::TooLong),
        }
    }

    /// Returns the bytes of the wrapped key.
    #[must_use]
    pub fn as_bytes(&self) -> &[u8] {
        &self.0
    }

    /// Converts the key into its bytes.
    #[must_use]
    pub fn into_bytes(self) -> Vec<u8> {
        self.0
    }
}

// === impl EncryptedLabel ===

impl EncryptedLabel {
    /// The minimum size in bytes: the nonce and the tag of an AEAD. A short name in the clear is refused.
    pub const MIN_BYTES: usize = 28;
    /// The maximum size in bytes.
    pub const MAX_BYTES: usize = 256;
    /// The description of the violation.
    pub const RULE: &'static str =
        "encrypted_label must have 28 to 256 bytes, of which at least 28 are a nonce and a tag";

    /// Parses a label that is not empty.
    ///
    /// # Errors
    ///
    /// TooShort or TooLong.
    pub fn parse(bytes: Vec<u8>) -> Result<Self, DeviceProblem> {
        match bytes.len() {
            ..Self::MIN_BYTES => Err(DeviceProblem::TooShort),
            Self::MIN_BYTES..=Self::MAX_BYTES => Ok(Self(bytes)),
            _ => Err(DeviceProblem::TooLong),
        }
    }

    /// Returns the bytes of the label.
    #[must_use]
    pub fn as_bytes(&self) -> &[u8] {
        &self.0
    }
}

// === impl KeyPath ===

impl KeyPath {
    /// The maximum number of steps.
    pub const MAX_STEPS: usize = 12;
    /// The maximum length in characters.
    pub const MAX_CHARACTERS: usize = 128;
    /// The description of the violation.
    pub const RULE: &'static str =
        "key_derivation_path must be m and up to 12 steps, such as m/44'/0'/1', and at most 128 characters";

    /// Parses a derivation path.
    ///
    /// # Errors
    ///
    /// Missing, TooLong or NotAPath.
    pub fn parse(path: String) -> Result<Self, DeviceProblem> {
        if path.is_empty() {
            return Err(DeviceProblem::Missing);
        }
        if path.len() > Self::MAX_CHARACTERS {
            return Err(DeviceProblem::TooLong);
        }
        let mut parts = path.split('/');
        let is_path = parts.next() == Some("m") && parts.clone().all(is_step);
        match is_path {
            true if parts.count() > Self::MAX_STEPS => Err(DeviceProblem::TooLong),
            true => Ok(Self(path)),
            false => Err(DeviceProblem::NotAPath),
        }
    }

    /// Returns the path as text.
    #[must_use]
    pub fn as_str(&self) -> &str {
        &self.0
    }
}

/// Returns whether `step` is a number below 2^31, with or without an apostrophe behind it.
fn is_step(step: &str) -> bool {
    let number = step.strip_suffix('\'').unwrap_or(step);
    // The table accepts at most ten digits; `parse` alone would accept a sign and any number of zeros.
    let digits = (1..=10).contains(&number.len()) && number.bytes().all(|byte| byte.is_ascii_digit());
    digits && number.parse::<i32>().is_ok()
}

// === impl AppVersion ===

impl AppVersion {
    /// The maximum length in characters.
    pub const MAX_CHARACTERS: usize = 64;
    /// The description of the violation.
    pub const RULE: &'static str = "app_version must have 1 to 64 characters of printable ASCII";

    /// Parses the version of an app.
    ///
    /// # Errors
    ///
    /// Missing, NotAscii or TooLong.
    pub fn parse(version: String) -> Result<Self, DeviceProblem> {
        let printable = |byte| matches!(byte, b' '..=b'~');
        match version.len() {
            0 => Err(DeviceProblem::Missing),
            _ if !version.bytes().all(printable) => Err(DeviceProblem::NotAscii),
            1..=Self::MAX_CHARACTERS => Ok(Self(version)),
            _ => Err(DeviceProblem::TooLong),
        }
    }

    /// Returns the version as text.
    #[must_use]
    pub fn as_str(&self) -> &str {
        &self.0
    }
}

// === impl DeviceProblem ===

impl DeviceProblem {
    /// Returns the violation's stable name.
    #[must_use]
    pub fn name(self) -> &'static str {
        match self {
            Self::Missing => "REQUIRED",
            Self::TooShort => "TOO_SHORT",
            Self::TooLong => "TOO_LONG",
            Self::NotAscii => "NOT_ASCII",
            Self::NotAPath => "NOT_A_PATH",
        }
    }
}

#[cfg(test)]
mod tests;
