//! People's devices, and what each says of its key.

use chrono::{DateTime, Utc};
use uuid::Uuid;

/// A person's device, and its key as far as the server knows it.
#[derive(Clone)]
pub struct Device {
    /// Its id, and that of its key.
    pub id: Uuid,
    /// What it runs.
    pub platform: DevicePlatform,
    /// The version of the app on it.
    pub app_version: String,
    /// The person's master key, as the device wrapped it. None: the device is revoked, or has got another key since.
    pub wrapped_key: Option<Vec<u8>>,
    /// How the device's key is derived from the master key.
    pub key_derivation_path: String,
    /// The version of the device's key.
    pub key_version: i32,
    /// When its next rotation is due.
    pub next_rotation_at: DateTime<Utc>,
    /// Whether the device may do anything.
    pub status: DeviceStatus,
    /// When it was last heard of.
    pub last_active_at: DateTime<Utc>,
    /// Up to which change number it has acknowledged.
    pub acknowledged_number: i64,
    /// When it was registered.
    pub created_at: DateTime<Utc>,
}

/// What a device runs.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum DevicePlatform {
    /// iOS.
    Ios,
    /// Android.
    Android,
    /// A browser.
    Web,
}

/// Whether a device may do anything.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum DeviceStatus {
    /// It may.
    Active,
    /// It may not, until its key is rotated.
    Suspended,
    /// It may not, for ever.
    Revoked,
}

/// A master key, as a device wrapped it: [`WrappedKey::FEWEST`] to [`WrappedKey::MOST`] bytes.
///
/// There is no `Debug`: a person's keys are in no log, wrapped or not.
#[derive(Clone)]
pub struct WrappedKey(Vec<u8>);

/// How a device's key is derived from the master key: `m` and up to [`KeyPath::MOST_STEPS`] steps, each a number below
/// 2^31 with or without an apostrophe, such as `m/44'/0'/1'` (after BIP 32).
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct KeyPath(String);

/// The version of an app: 1 to [`AppVersion::MOST`] characters of printable ASCII.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct AppVersion(String);

/// What is wrong with what a device says of itself.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum DeviceProblem {
    /// Nothing was sent.
    Missing,
    /// It has to be longer.
    TooShort,
    /// It has to be shorter.
    TooLong,
    /// There is more in it than printable ASCII.
    NotAscii,
    /// It is not a path of derivation.
    NotAPath,
}

// === impl Device ===

impl Device {
    /// How long a key is used until its rotation is due, in days.
    pub const ROTATION_DAYS: i64 = 90;

    /// Whether the rotation of its key was due before `now`.
    #[must_use]
    pub fn rotation_overdue(&self, now: DateTime<Utc>) -> bool {
        self.next_rotation_at <= now
    }
}

// === impl DevicePlatform ===

impl DevicePlatform {
    /// The name that it is stored under.
    #[must_use]
    pub fn name(self) -> &'static str {
        match self {
            Self::Ios => "ios",
            Self::Android => "android",
            Self::Web => "web",
        }
    }

    /// The platform of that name.
    #[must_use]
    pub fn from_name(name: &str) -> Option<Self> {
        [Self::Ios, Self::Android, Self::Web]
            .into_iter()
            .find(|platform| platform.name() == name)
    }
}

// === impl DeviceStatus ===

impl DeviceStatus {
    /// The name that it is stored under.
    #[must_use]
    pub fn name(self) -> &'static str {
        match self {
            Self::Active => "active",
            Self::Suspended => "suspended",
            Self::Revoked => "revoked",
        }
    }

    /// The status of that name.
    #[must_use]
    pub fn from_name(name: &str) -> Option<Self> {
        [Self::Active, Self::Suspended, Self::Revoked]
            .into_iter()
            .find(|status| status.name() == name)
    }
}

// === impl WrappedKey ===

impl WrappedKey {
    /// At least how many bytes it has: a key of 256 bits has no fewer.
    pub const FEWEST: usize = 32;
    /// At most how many bytes it has.
    pub const MOST: usize = 1_024;
    /// The rule, for a developer to read.
    pub const RULE: &'static str = "A wrapped master key has 32 to 1024 bytes";

    /// Takes what a device sent.
    ///
    /// # Errors
    ///
    /// When there is nothing, too little or too much of it.
    pub fn parse(bytes: Vec<u8>) -> Result<Self, DeviceProblem> {
        match bytes.len() {
            0 => Err(DeviceProblem::Missing),
            1..Self::FEWEST => Err(DeviceProblem::TooShort),
            Self::FEWEST..=Self::MOST => Ok(Self(bytes)),
            _ => Err(DeviceProblem::TooLong),
        }
    }

    /// The bytes.
    #[must_use]
    pub fn as_bytes(&self) -> &[u8] {
        &self.0
    }

    /// The bytes, to be sent back.
    #[must_use]
    pub fn into_bytes(self) -> Vec<u8> {
        self.0
    }
}

// === impl KeyPath ===

impl KeyPath {
    /// At most how many steps it has.
    pub const MOST_STEPS: usize = 12;
    /// At most how many characters it has, whatever its steps are.
    pub const MOST: usize = 128;
    /// The rule, for a developer to read.
    pub const RULE: &'static str =
        "A path is `m` and up to 12 steps, such as m/44'/0'/1', with at most 128 characters";

    /// Takes what a device sent.
    ///
    /// # Errors
    ///
    /// When there is nothing, too much of it, or it is not a path.
    pub fn parse(path: String) -> Result<Self, DeviceProblem> {
        if path.is_empty() {
            return Err(DeviceProblem::Missing);
        }
        if path.len() > Self::MOST {
            return Err(DeviceProblem::TooLong);
        }
        let mut parts = path.split('/');
        let is_path = parts.next() == Some("m") && parts.clone().all(is_step);
        match is_path {
            true if parts.count() > Self::MOST_STEPS => Err(DeviceProblem::TooLong),
            true => Ok(Self(path)),
            false => Err(DeviceProblem::NotAPath),
        }
    }

    /// The path.
    #[must_use]
    pub fn as_str(&self) -> &str {
        &self.0
    }
}

/// A number below 2^31, with or without an apostrophe behind it.
fn is_step(step: &str) -> bool {
    let number = step.strip_suffix('\'').unwrap_or(step);
    // The table takes no more than ten digits, and `parse` would take a sign and any number of zeros.
    let digits = (1..=10).contains(&number.len()) && number.bytes().all(|byte| byte.is_ascii_digit());
    digits && number.parse::<i32>().is_ok()
}

// === impl AppVersion ===

impl AppVersion {
    /// At most how many characters it has.
    pub const MOST: usize = 64;
    /// The rule, for a developer to read.
    pub const RULE: &'static str = "The version of an app is 1 to 64 characters of printable ASCII";

    /// Takes what a device sent.
    ///
    /// # Errors
    ///
    /// When there is nothing, too much of it, or more in it than printable ASCII.
    pub fn parse(version: String) -> Result<Self, DeviceProblem> {
        let printable = |byte| matches!(byte, b' '..=b'~');
        match version.len() {
            0 => Err(DeviceProblem::Missing),
            _ if !version.bytes().all(printable) => Err(DeviceProblem::NotAscii),
            1..=Self::MOST => Ok(Self(version)),
            _ => Err(DeviceProblem::TooLong),
        }
    }

    /// The version.
    #[must_use]
    pub fn as_str(&self) -> &str {
        &self.0
    }
}

// === impl DeviceProblem ===

impl DeviceProblem {
    /// The stable name of the violation.
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
