//! The mark of a stream that a device keeps open.

use uuid::Uuid;

/// The device that a watch belongs to. A handler puts it into the extensions of its [`Response`](tonic::Response): the server
/// then ends the device's older watch on this replica with CANCELLED.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct DeviceWatch(pub Uuid);
