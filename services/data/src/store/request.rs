//! Requests: what is kept of a change so that its retry is known as one.

use uuid::Uuid;

/// What makes a retry known as one (AIP-155).
#[derive(Clone, Copy, Debug)]
pub struct RequestKey {
    /// The id that the client made up for this change. It is the person's own: two people may use the same one.
    pub id: Uuid,
    /// A keyed hash of the method and of everything else in the request.
    pub payload_mac: [u8; 32],
}
