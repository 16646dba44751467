//! The key of a stream that its client keeps open.

use uuid::Uuid;

/// What a watch belongs to, such as a device. A handler puts it into the extensions of its [`Response`](tonic::Response): the
/// server then ends the same user's older watch with this key on this replica with CANCELLED.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct WatchKey(pub Uuid);
