//! Where a device stands in the feed of its person's changes: cursors, and reading on from one.

use std::time::Duration;

use haven_platform::{
    call::{Call, UserId},
    deadline::Deadline,
    failure::{Failure, Violation},
    page::PageTokens,
    reason::Reason,
    violations::Violations,
};
use haven_proto::data::v1::FeedEntry;
use uuid::Uuid;

use super::{
    EncryptedRpc,
    message::{conflict_message, record_message},
};
use crate::{
    domain::encrypted::feed::{Entry, Expiry, SyncCursor},
    store::encrypted::cycle::{
        Changes,
        read_changes::{FeedError, FeedPart},
    },
};

/// How long reading a part may take. A database that is slower than this is not there.
const LOOK: Duration = Duration::from_secs(5);

/// What every cursor leads on in, whichever RPC it is of.
const FEED: &[u8] = b"changes";

/// One device that reads, from the call to the end of its stream.
pub(super) struct Reader {
    changes: Changes,
    pages: PageTokens,
    caller: UserId,
    device: Uuid,
    deadline: Deadline,
    /// Up to where it was told. None: it begins.
    place: Option<SyncCursor>,
    /// The newest change when it last looked.
    last_number: i64,
}

impl EncryptedRpc {
    /// A device that reads on from `cursor`, or from the beginning.
    pub(super) fn reader(&self, call: &Call, device: &str, cursor: &str) -> Result<Reader, Failure> {
        let caller = call.user()?;
        let mut violations = Violations::new();
        let device = violations.uuid("device_id", device);
        let place = open(&self.pages, caller, cursor, &mut violations);
        violations.check()?;
        Ok(Reader {
            changes: self.changes.clone(),
            pages: self.pages.clone(),
            caller,
            device,
            deadline: call.deadline,
            place,
            last_number: 0,
        })
    }
}

impl Reader {
    /// Reads what comes next.
    pub(super) async fn look(&mut self) -> Result<FeedPart, Failure> {
        let deadline = self.deadline.at_most(LOOK);
        let part = self
            .changes
            .read(self.caller, deadline, self.device, self.place)
            .await;
        let part = part.map_err(|error| self.deadline.of_part(error.into()))?;
        self.place = Some(part.place);
        self.last_number = part.last_number;
        Ok(part)
    }

    /// Whether it was told everything up to `number`.
    pub(super) fn has(&self, number: i64) -> bool {
        self.place.is_some_and(|place| place.number >= number)
    }

    /// The number of the newest change when it last looked.
    pub(super) fn last_number(&self) -> i64 {
        self.last_number
    }

    /// When the call has to be over.
    pub(super) fn deadline(&self) -> Deadline {
        self.deadline
    }

    /// A part as it is sent: its entries, and the cursor that leads on from it.
    pub(super) fn message(&self, part: FeedPart) -> (Vec<FeedEntry>, String) {
        let entries = part.entries.into_iter().map(entry_message).collect();
        (entries, seal(&self.pages, self.caller, part.place))
    }
}

/// What leads on from `place`.
pub(super) fn seal(pages: &PageTokens, caller: UserId, place: SyncCursor) -> String {
    let cursor = [
        place.epoch.as_bytes().as_slice(),
        &place.number.to_be_bytes(),
        &place.floor.to_be_bytes(),
    ]
    .concat();
    pages.seal(caller, FEED, &cursor)
}

/// The place that `cursor` leads on from. None: the beginning, or what is wrong with it is among `violations`.
pub(super) fn open(
    pages: &PageTokens,
    caller: UserId,
    cursor: &str,
    violations: &mut Violations,
) -> Option<SyncCursor> {
    match pages.cursor(caller, FEED, cursor) {
        Ok(cursor) => cursor.and_then(place),
        Err(_) => {
            let description = "This has to be the cursor of an answer to this person";
            violations.add(Violation::new("cursor", "NOT_A_CURSOR", description));
            None
        }
    }
}

/// The place that a cursor holds, which is always one: nobody else seals any.
fn place(cursor: [u8; 32]) -> Option<SyncCursor> {
    let (epoch, numbers) = cursor.split_first_chunk()?;
    let (number, floor) = numbers.split_first_chunk()?;
    Some(SyncCursor {
        epoch: Uuid::from_bytes(*epoch),
        number: i64::from_be_bytes(*number),
        floor: i64::from_be_bytes(floor.try_into().ok()?),
    })
}

fn entry_message(entry: Entry) -> FeedEntry {
    let change_number = entry.change_number();
    let (record, conflict) = match entry {
        Entry::Record(record) => (Some(record_message(record)), None),
        Entry::Conflict(conflict) => (None, Some(conflict_message(conflict))),
    };
    FeedEntry {
        change_number,
        record,
        conflict,
    }
}

impl From<FeedError> for Failure {
    fn from(error: FeedError) -> Self {
        match error {
            FeedError::Caller(error) => error.into(),
            FeedError::CursorExpired(expiry) => expiry.into(),
        }
    }
}

impl From<Expiry> for Failure {
    fn from(expiry: Expiry) -> Self {
        // Who is behind a restore still has what was lost with it, and can bring it back.
        let cause = match expiry {
            Expiry::Restored => "RESTORED",
            Expiry::RestoredAndPurged => "RESTORED_AND_PURGED",
            Expiry::Purged => "PURGED",
        };
        Self::new(Reason::CursorExpired).metadata("cause", cause)
    }
}

#[cfg(test)]
mod tests {
    use haven_platform::mac::{MacKey, SecretKey};

    use super::*;

    #[test]
    fn a_cursor_is_its_persons() {
        let pages = PageTokens::new(MacKey::derive(&SecretKey::new(Box::new([7; 32])), "pages"));
        let [ada, bob] = [1, 2].map(|id| UserId::new(Uuid::from_u128(id)));
        let opened = |person, cursor: &str| {
            let mut violations = Violations::new();
            let place = open(&pages, person, cursor, &mut violations);
            violations.check().map(|()| place)
        };
        assert_eq!(opened(ada, "").unwrap(), None);
        for (number, floor) in [(0, 0), (1, 0), (42, 7), (7, 42), (i64::MAX, i64::MAX)] {
            let place = SyncCursor {
                epoch: Uuid::from_u128(3),
                number,
                floor,
            };
            assert_eq!(opened(ada, &seal(&pages, ada, place)).unwrap(), Some(place));
        }
        let place = SyncCursor {
            epoch: Uuid::from_u128(3),
            number: 1,
            floor: 0,
        };
        let ours = seal(&pages, ada, place);
        let other_list = pages.seal(ada, b"ListRecords", &[1; 32]);
        let short = pages.seal(ada, FEED, &[1; 24]);
        assert!(opened(bob, &ours).is_err());
        for cursor in ["x", &ours[1..], &format!("{ours}A"), &other_list, &short] {
            let failure = opened(ada, cursor).unwrap_err();
            assert_eq!(failure.reason(), Reason::InvalidField, "{cursor}");
            assert_eq!(failure.all_violations()[0].field, "cursor");
        }
    }
}
