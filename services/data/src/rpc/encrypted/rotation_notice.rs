//! What an answer says to the device that asked, beside the answer: that its key is due for rotation.

use chrono::{DateTime, SecondsFormat, Utc};
use tonic::{Response, metadata::AsciiMetadataValue};

/// The key of the metadata. The value is an RFC 3339 time.
const ROTATION_DUE: &str = "haven-key-rotation-due-time";

/// An answer, and what to say to the device that asked for it.
#[derive(Debug)]
pub(super) struct Noticed<T> {
    /// The answer.
    pub(super) answer: T,
    /// When the next rotation of its key is due. None: nobody said which device asks.
    pub(super) next_rotation_at: Option<DateTime<Utc>>,
}

impl<T> Noticed<T> {
    /// The response; where the rotation was due before `now`, it says so.
    pub(super) fn response(self, now: DateTime<Utc>) -> Response<T> {
        let mut response = Response::new(self.answer);
        let due = self.next_rotation_at.filter(|due| *due <= now);
        let value = due.map(|due| due.to_rfc3339_opts(SecondsFormat::Secs, true));
        if let Some(value) = value.and_then(|value| AsciiMetadataValue::try_from(value).ok()) {
            response.metadata_mut().insert(ROTATION_DUE, value);
        }
        response
    }
}
