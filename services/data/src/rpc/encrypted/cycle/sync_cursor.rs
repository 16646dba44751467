//! Sync cursors: a device's position in the feed, sealed as a token for its person.

use haven_platform::{call::UserId, failure::Violation, page::PageTokens, violations::Violations};
use uuid::Uuid;

use crate::domain::encrypted::feed::SyncCursor;

/// The request that cursors are sealed for. It is the same for every RPC that returns or takes one.
const FEED: &[u8] = b"changes";

/// The bit that says that the read of a cursor has not come to its end. It is the sign of the floor, which is never negative:
/// so a complete cursor has the bytes that it had before there was the bit, and a program from before the bit takes both.
const INCOMPLETE: i64 = i64::MIN;

/// Seals `cursor` for `caller`.
pub(super) fn seal(pages: &PageTokens, caller: UserId, cursor: SyncCursor) -> String {
    let incomplete = if cursor.complete { 0 } else { INCOMPLETE };
    let bytes = [
        cursor.epoch.as_bytes().as_slice(),
        &cursor.number.to_be_bytes(),
        &(cursor.floor | incomplete).to_be_bytes(),
    ]
    .concat();
    pages.seal(caller, FEED, &bytes)
}

/// Opens a cursor that was sealed for `caller`. `None` when `token` is empty; also when it is invalid, which adds a
/// violation.
pub(super) fn open(
    pages: &PageTokens,
    caller: UserId,
    token: &str,
    violations: &mut Violations,
) -> Option<SyncCursor> {
    match pages.cursor(caller, FEED, token) {
        Ok(bytes) => bytes.and_then(from_bytes),
        Err(_) => {
            let description = "cursor must be one that a response to the same person had";
            violations.add(Violation::new("cursor", "NOT_A_CURSOR", description));
            None
        }
    }
}

/// Parses the bytes of a cursor. They are always valid: only [`seal`] makes them.
fn from_bytes(bytes: [u8; 32]) -> Option<SyncCursor> {
    let (epoch, numbers) = bytes.split_first_chunk()?;
    let (number, floor) = numbers.split_first_chunk()?;
    let floor = i64::from_be_bytes(floor.try_into().ok()?);
    Some(SyncCursor {
        epoch: Uuid::from_bytes(*epoch),
        number: i64::from_be_bytes(*number),
        floor: floor & !INCOMPLETE,
        complete: floor & INCOMPLETE == 0,
    })
}

#[cfg(test)]
mod tests {
    use haven_platform::{
        mac::{MacKeys, SecretKeys},
        reason::Reason,
    };

    use super::*;

    /// What a program from before the bit made is complete.
    #[test]
    fn a_complete_cursor_has_the_bytes_that_it_always_had() {
        let pages = PageTokens::new(MacKeys::derive(&SecretKeys::one([7; 32]), "pages"));
        let ada = UserId::new(Uuid::from_u128(1));
        let cursor = SyncCursor {
            epoch: Uuid::from_u128(3),
            number: 7,
            floor: 5,
            complete: true,
        };
        let bytes = [
            Uuid::from_u128(3).as_bytes().as_slice(),
            &7_i64.to_be_bytes(),
            &5_i64.to_be_bytes(),
        ]
        .concat();
        assert_eq!(seal(&pages, ada, cursor), pages.seal(ada, FEED, &bytes));
    }

    #[test]
    fn a_cursor_is_its_persons() {
        let pages = PageTokens::new(MacKeys::derive(&SecretKeys::one([7; 32]), "pages"));
        let [ada, bob] = [1, 2].map(|id| UserId::new(Uuid::from_u128(id)));
        let opened = |person, token: &str| {
            let mut violations = Violations::new();
            let cursor = open(&pages, person, token, &mut violations);
            violations.check().map(|()| cursor)
        };
        assert_eq!(opened(ada, "").unwrap(), None);
        for (number, floor) in [(0, 0), (1, 0), (42, 7), (7, 42), (i64::MAX, i64::MAX)] {
            for complete in [false, true] {
                let cursor = SyncCursor {
                    epoch: Uuid::from_u128(3),
                    number,
                    floor,
                    complete,
                };
                assert_eq!(opened(ada, &seal(&pages, ada, cursor)).unwrap(), Some(cursor));
            }
        }
        let cursor = SyncCursor {
            epoch: Uuid::from_u128(3),
            number: 1,
            floor: 0,
            complete: true,
        };
        let token = seal(&pages, ada, cursor);
        let of_another_list = pages.seal(ada, b"ListRecords", &[1; 32]);
        let too_short = pages.seal(ada, FEED, &[1; 24]);
        assert!(opened(bob, &token).is_err());
        for invalid in [
            "x",
            &token[1..],
            &format!("{token}A"),
            &of_another_list,
            &too_short,
        ] {
            let failure = opened(ada, invalid).unwrap_err();
            assert_eq!(failure.reason(), Reason::InvalidField, "{invalid}");
            assert_eq!(failure.all_violations()[0].field, "cursor");
        }
    }
}
