//! The origin of a call, as the audit log stores it.

use haven_platform::{call::Call, mac::MacKeys};

use crate::domain::audit::Origin;

/// Derives the stored origins of calls. Networks are stored as keyed hashes.
#[derive(Clone, Debug)]
pub struct AuditOrigins(MacKeys);

impl AuditOrigins {
    /// Hashes networks with the first of `keys`.
    #[must_use]
    pub fn new(keys: MacKeys) -> Self {
        Self(keys)
    }

    /// The origin of `call`.
    pub(super) fn of(&self, call: &Call) -> Origin {
        let service = call.caller.service.as_ref();
        Origin {
            service: service.map(|service| service.as_str().to_owned()),
            network_mac: call.network.map(|network| self.0.stored(&[&network.as_bytes()])),
        }
    }
}
