//! Quotas: how much one person may have.

/// The quotas of this service.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Quotas {
    /// The maximum number of entries in a ledger of consents.
    pub consents: i32,
    /// The maximum number of devices with a token. A new one replaces the least recently used.
    pub devices: i32,
    /// The maximum number of sessions that have not ended. A new one ends the least recently refreshed.
    pub sessions: i32,
}

/// How much a person uses of a quota.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct QuotaUsage {
    /// The quota's name, as in QUOTA_EXCEEDED.
    pub quota: String,
    /// The number in use.
    pub used: i64,
    /// The maximum.
    pub limit: i64,
}

// === impl Quotas ===

impl Quotas {
    /// The name of the quota of consents.
    pub const CONSENTS: &'static str = "consents";

    /// Returns the maximum of the quota with the name. `None` when there is no such quota.
    #[must_use]
    pub fn limit(&self, name: &str) -> Option<i64> {
        match name {
            Self::CONSENTS => Some(self.consents.into()),
            "devices" => Some(self.devices.into()),
            "sessions" => Some(self.sessions.into()),
            _ => None,
        }
    }
}
