//! The response metadata that tells a device that the rotation of its key is due.

use chrono::{DateTime, SecondsFormat, Utc};
use haven_platform::watch_key::WatchKey;
use tonic::{Response, metadata::AsciiMetadataValue};
use uuid::Uuid;

/// The key of the metadata. The value is an RFC 3339 time.
const ROTATION_DUE: &str = "haven-key-rotation-due-time";

/// An answer, and the notice that the rotation of the calling device's key is due.
#[derive(Debug)]
pub struct WithRotationNotice<T> {
    answer: T,
    /// The time since which the rotation is due. `None` when it is not due, or the calling device is not known.
    due_since: Option<DateTime<Utc>>,
    /// The device that keeps the answer open as a watch.
    watch: Option<WatchKey>,
}

impl<T> WithRotationNotice<T> {
    /// Adds the notice to `answer` when `next_rotation_at` is not after `now`.
    pub(super) fn new(answer: T, next_rotation_at: Option<DateTime<Utc>>, now: DateTime<Utc>) -> Self {
        Self {
            answer,
            due_since: next_rotation_at.filter(|due| *due <= now),
            watch: None,
        }
    }

    /// Marks the answer as a watch of `device`.
    pub(super) fn watched_by(self, device: Uuid) -> Self {
        Self {
            watch: Some(WatchKey(device)),
            ..self
        }
    }
}

impl<T> From<WithRotationNotice<T>> for Response<T> {
    fn from(with_notice: WithRotationNotice<T>) -> Self {
        let mut response = Self::new(with_notice.answer);
        let value = with_notice
            .due_since
            .map(|due| due.to_rfc3339_opts(SecondsFormat::Secs, true));
        if let Some(value) = value.and_then(|value| AsciiMetadataValue::try_from(value).ok()) {
            response.metadata_mut().insert(ROTATION_DUE, value);
        }
        if let Some(watch) = with_notice.watch {
            response.extensions_mut().insert(watch);
        }
        response
    }
}

#[cfg(test)]
mod tests {
    use chrono::TimeDelta;

    use super::*;

    #[test]
    fn a_response_has_the_notice_from_the_moment_at_which_the_rotation_is_due() {
        let due = DateTime::UNIX_EPOCH;
        let notice = |next_rotation_at, now| {
            let response = Response::<()>::from(WithRotationNotice::new((), next_rotation_at, now));
            let value = response.metadata().get(ROTATION_DUE);
            value.map(|value| value.to_str().unwrap().to_owned())
        };
        assert_eq!(notice(None, due), None);
        assert_eq!(notice(Some(due), due - TimeDelta::microseconds(1)), None);
        assert_eq!(notice(Some(due), due).unwrap(), "1970-01-01T00:00:00Z");
    }
}
