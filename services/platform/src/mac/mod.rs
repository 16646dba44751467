//! Keyed hashes: HMAC-SHA256 (RFC 2104) with keys that are derived from the service's secrets, one for each purpose.
//!
//! The secrets are a ring ([`SecretKeys`]), so that a secret can be changed: the first one makes new hashes, and hashes
//! under all of them are accepted. What is stored names its key ([`StoredMac`]).

mod key_id;
mod mac_key;
mod ring;
mod stored;

pub use self::{
    key_id::{KeyId, KeyIdError},
    mac_key::{MacKey, SecretKey},
    ring::{MacKeys, SecretKeys, SecretKeysError},
    stored::{StoredMac, StoredMacs},
};

/// The size of a keyed hash in bytes.
pub const MAC_BYTES: usize = 32;
