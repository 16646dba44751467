//! Listing conflicts.

use haven_platform::{call::Call, failure::Failure, page::PageSize, reason::Reason, violations::Violations};
use haven_proto::data::v1::{ListConflictsRequest, ListConflictsResponse};
use uuid::Uuid;

use super::{EncryptedRpc, message::conflict_message, notice::Noticed};

/// At most so many on a page: as many of the largest as fit into an answer.
const MOST_ON_A_PAGE: u8 = 50;

/// A page that somebody wants to see. Its token is not opened yet.
#[derive(Debug, PartialEq, Eq)]
struct List {
    record: Option<Uuid>,
    device: Option<Uuid>,
    size: PageSize,
    token: String,
}

impl EncryptedRpc {
    pub(super) async fn list_conflicts_of(
        &self,
        call: &Call,
        request: ListConflictsRequest,
    ) -> Result<Noticed<ListConflictsResponse>, Failure> {
        let caller = call.user()?;
        let List {
            record,
            device,
            size,
            token,
        } = List::parse(request)?;
        let list = same_on_each_page(record);
        let after = match self.pages.cursor(caller, &list, &token)? {
            Some(cursor) => last_number(cursor)?,
            None => 0,
        };
        let page = self
            .changes
            .conflicts(caller, call.deadline, record, after, size, device)
            .await?;
        let last = page.conflicts.last().filter(|_| page.more);
        let next_page_token = last.map(|last| {
            let cursor = last.change_number.to_be_bytes();
            self.pages.seal(caller, &list, &cursor)
        });
        Ok(Noticed {
            answer: ListConflictsResponse {
                next_page_token: next_page_token.unwrap_or_default(),
                conflicts: page.conflicts.into_iter().map(conflict_message).collect(),
            },
            next_rotation_at: page.next_rotation_at,
        })
    }
}

impl List {
    fn parse(sent: ListConflictsRequest) -> Result<Self, Failure> {
        let mut violations = Violations::new();
        let size = PageSize::parse(sent.page_size, &mut violations);
        let record = violations.optional_uuid("record_id", &sent.record_id);
        let device = violations.optional_uuid("device_id", &sent.device_id);
        let size = violations.finish(size)?;
        Ok(Self {
            record,
            device,
            size: size.at_most(MOST_ON_A_PAGE),
            token: sent.page_token,
        })
    }
}

/// What has to be the same from page to page.
fn same_on_each_page(record: Option<Uuid>) -> Vec<u8> {
    [b"ListConflicts".as_slice(), record.unwrap_or_default().as_bytes()].concat()
}

/// The number of the conflict that a page ended with, out of its token.
fn last_number(cursor: [u8; 8]) -> Result<i64, Failure> {
    let number = Some(i64::from_be_bytes(cursor)).filter(|number| *number > 0);
    number.ok_or_else(|| Failure::new(Reason::PageTokenInvalid))
}

#[cfg(test)]
mod tests {
    use super::*;

    const ID: &str = "01890a5d-ac96-774b-bcce-b302099a8057";

    #[test]
    fn a_page_has_50_conflicts_at_most() {
        for (asked, expected) in [(0, 50), (1, 1), (50, 50), (51, 50), (i32::MAX, 50)] {
            let sent = ListConflictsRequest {
                page_size: asked,
                ..ListConflictsRequest::default()
            };
            let list = List::parse(sent).unwrap();
            assert_eq!(list.size.get(), expected);
            assert_eq!((list.record, list.device), (None, None));
        }
    }

    #[test]
    fn everything_wrong_is_reported_at_once() {
        let sent = ListConflictsRequest {
            page_size: -1,
            record_id: "x".into(),
            device_id: "x".into(),
            page_token: String::new(),
        };
        let failure = List::parse(sent).unwrap_err();
        assert_eq!(failure.reason(), Reason::InvalidField);
        let violations = failure.all_violations().iter();
        let found: Vec<_> = violations.map(|one| (one.field.as_str(), one.name)).collect();
        let expected = [
            ("page_size", "NEGATIVE"),
            ("record_id", "NOT_A_UUID"),
            ("device_id", "NOT_A_UUID"),
        ];
        assert_eq!(found, expected);
    }

    #[test]
    fn a_token_leads_on_in_the_list_of_its_record() {
        let id = ID.parse().unwrap();
        assert_ne!(same_on_each_page(None), same_on_each_page(Some(id)));
        assert_eq!(last_number(7_i64.to_be_bytes()).unwrap(), 7);
        assert!(last_number(0_i64.to_be_bytes()).is_err());
    }
}
