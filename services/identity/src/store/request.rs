//! Requests: what is kept of a change so that its retry is known as one.

use uuid::Uuid;

/// What makes a retry known as one (AIP-155).
#[derive(Clone, Copy, Debug)]
pub struct RequestKey {
    /// The id that the client made up for this change.
    pub id: Uuid,
    /// A keyed hash of the method and of everything else in the request but its password. No fast hash of a password is
    /// kept anywhere: whether a retry brings the same one is found out with the slow hash.
    pub payload_mac: [u8; 32],
}
