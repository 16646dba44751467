//! What people's devices encrypt: the RPCs. Nothing here has a key, or may name what has one: a test checks that.

pub(in crate::rpc) mod cycle;
pub(in crate::rpc) mod device;
mod envelope;
mod failure;
mod local_time;
pub(in crate::rpc) mod preferences;
mod rotation_notice;
pub(in crate::rpc) mod share;

use haven_platform::{
    entropy::Entropy, failure::Failure, mac::MacKey, page::PageTokens, reason::Reason, time::Clock,
};
use tokio_util::sync::CancellationToken;

use crate::{
    domain::encrypted::share_token::TokenHashes,
    keyed_mutex::KeyedMutex,
    notify::PersonNotify,
    passcodes::Passcodes,
    store::encrypted::{
        calling_device::CallerError,
        cycle::{Changes, get_record::Records},
        device::Devices,
        preferences::Preferences,
        share::Shares,
    },
};

/// Cycle records, preferences, devices and shares, as the server runs them.
#[derive(Debug)]
pub struct EncryptedRpc {
    /// Cycle records, one at a time.
    pub records: Records,
    /// How devices keep in step.
    pub changes: Changes,
    /// Preferences.
    pub preferences: Preferences,
    /// Devices.
    pub devices: Devices,
    /// Shares.
    pub shares: Shares,
    /// Where those wait who open the same share.
    pub openings: KeyedMutex,
    /// Hashes their passcodes.
    pub passcodes: Passcodes,
    /// Says to a person's devices that something changed.
    pub changed: PersonNotify,
    /// For the keyed hashes of requests.
    pub requests: MacKey,
    /// For the keyed hashes of what devices call themselves.
    pub installations: MacKey,
    /// For the tokens of shares: each is derived from the request that asked for it.
    pub share_tokens: MacKey,
    /// For what is kept of those tokens.
    pub share_token_hashes: TokenHashes,
    /// Page tokens and cursors.
    pub pages: PageTokens,
    /// The time of day.
    pub clock: Clock,
    /// For ids.
    pub entropy: Entropy,
    /// Says that it is time to stop: whoever watches is told.
    pub stop: CancellationToken,
}

impl From<CallerError> for Failure {
    fn from(error: CallerError) -> Self {
        match error {
            CallerError::NoDevice => Self::new(Reason::NotFound),
            CallerError::AccountErased => Self::new(Reason::AccountErased),
            CallerError::DeviceInactive => Self::new(Reason::DeviceInactive),
            CallerError::Database(error) => error.into(),
        }
    }
}
