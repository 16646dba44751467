//! The origin of a call, as the audit log stores it.

use haven_platform::{call::Call, mac::MacKey};

use crate::domain::audit::Origin;

/// Derives the stored origins of calls. Networks are stored as keyed hashes.
#[derive(Clone, Debug)]
pub struct AuditOrigins(MacKey);

impl AuditOrigins {
    /// Hashes networks with `key`.
    #[must_use]
    pub fn new(key: MacKey) -> Self {
        Self(key)
    }

    /// The origin of `call`.
    pub(super) fn of(&self, call: &Call) -> Origin {
        let service = call.caller.service.as_ref();
        Origin {
            service: service.map(|service| service.as_str().to_owned()),
            network_mac: call.network.map(|network| self.0.mac(&[&network.as_bytes()])),
        }
    }
}
