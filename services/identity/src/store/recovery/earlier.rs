//! The earlier request with the same id.

use haven_platform::{mac::KeyId, request_key::RequestKey};
use serde::de::DeserializeOwned;

/// The earlier request of a person with the id of a call.
#[derive(Debug)]
pub struct Earlier {
    method: String,
    payload_mac: Vec<u8>,
    answer: serde_json::Value,
}

// === impl Earlier ===

impl Earlier {
    /// Puts the columns of `identity.requests` together. `None` when there was no such request.
    pub(super) fn of(
        method: Option<String>,
        payload_mac: Option<Vec<u8>>,
        answer: Option<serde_json::Value>,
    ) -> Option<Self> {
        Some(Self {
            method: method?,
            payload_mac: payload_mac?,
            answer: answer?,
        })
    }

    /// Returns whether the earlier request was one of `method` with the same content as `request`, passwords aside.
    #[must_use]
    pub fn is(&self, method: &str, request: &RequestKey) -> bool {
        self.method == method && request.payload_macs.contains(&self.payload_mac)
    }

    /// Returns the stored answer, and the id of the key that came first in the ring when it was made. `None` when the earlier
    /// request was another one.
    #[must_use]
    pub fn answer_to<T: DeserializeOwned>(&self, method: &str, request: &RequestKey) -> Option<(T, KeyId)> {
        let answer = self.is(method, request).then_some(&self.answer)?;
        let answer = serde_json::from_value(answer.clone()).ok()?;
        Some((answer, KeyId::of_stored(&self.payload_mac)))
    }
}
