//! ListConflicts: lists open conflicts, of one record or of all, in the order of arrival.

use haven_platform::{
    call::Call, failure::Failure, handler::Handler, page::PageSize, reason::Reason, violations::Violations,
};
use haven_proto::data::v1::{ListConflictsRequest, ListConflictsResponse};
use uuid::Uuid;

use super::{super::rotation_notice::WithRotationNotice, CycleRpc, record::conflict_message};

/// The maximum number of conflicts on a page: as many of the largest ones as fit into a response.
const MAX_PAGE_SIZE: u8 = 50;

/// A parsed request. The page token is not opened yet.
#[derive(Debug, PartialEq, Eq)]
struct List {
    record: Option<Uuid>,
    device: Option<Uuid>,
    size: PageSize,
    token: String,
}

impl Handler<ListConflictsRequest> for CycleRpc {
    type Answer = WithRotationNotice<ListConflictsResponse>;

    async fn handle(&self, call: &Call, request: ListConflictsRequest) -> Result<Self::Answer, Failure> {
        let caller = call.user()?;
        let List {
            record,
            device,
            size,
            token,
        } = List::parse(request)?;
        let list = list_key(record);
        let after = match self.pages.cursor(caller, &list, &token)? {
            Some(cursor) => change_number(cursor)?,
            None => 0,
        };
        let listed = self
            .changes
            .list_conflicts(caller, device, record, after, size, call.deadline)
            .await?;
        let next_page_token = self.pages.next(caller, &list, &listed.page, |last| {
            last.change_number.to_be_bytes()
        });
        Ok(WithRotationNotice::new(
            ListConflictsResponse {
                next_page_token,
                conflicts: listed.page.items.into_iter().map(conflict_message).collect(),
            },
            listed.next_rotation_at,
            self.clock.now(),
        ))
    }
}

impl List {
    fn parse(request: ListConflictsRequest) -> Result<Self, Failure> {
        let mut violations = Violations::new();
        let size = PageSize::parse(request.page_size, &mut violations);
        let record = violations.optional_uuid("record_id", &request.record_id);
        let device = violations.optional_uuid("device_id", &request.device_id);
        let size = violations.finish(size)?;
        Ok(Self {
            record,
            device,
            size: size.at_most(MAX_PAGE_SIZE),
            token: request.page_token,
        })
    }
}

/// Returns the fields that must stay the same from page to page.
fn list_key(record: Option<Uuid>) -> Vec<u8> {
    [b"ListConflicts".as_slice(), record.unwrap_or_default().as_bytes()].concat()
}

/// Parses the cursor of a page token: the change number of the last conflict on the page before.
fn change_number(cursor: [u8; 8]) -> Result<i64, Failure> {
    let number = Some(i64::from_be_bytes(cursor)).filter(|number| *number > 0);
    number.ok_or_else(|| Failure::new(Reason::PageTokenInvalid))
}

#[cfg(test)]
mod tests {
    use super::*;

    const ID: &str = "01890a5d-ac96-774b-bcce-b302099a8057";

    #[test]
    fn a_page_has_50_conflicts_at_most() {
        for (page_size, expected) in [(0, 50), (1, 1), (50, 50), (51, 50), (i32::MAX, 50)] {
            let request = ListConflictsRequest {
                page_size,
                ..ListConflictsRequest::default()
            };
            let list = List::parse(request).unwrap();
            assert_eq!(list.size.get(), expected);
            assert_eq!((list.record, list.device), (None, None));
        }
    }

    #[test]
    fn everything_wrong_is_reported_at_once() {
        let request = ListConflictsRequest {
            page_size: -1,
            record_id: "x".into(),
            device_id: "x".into(),
            page_token: String::new(),
        };
        let failure = List::parse(request).unwrap_err();
        assert_eq!(failure.reason(), Reason::InvalidField);
        let violations = failure.all_violations().iter();
        let violations: Vec<_> = violations.map(|one| (one.field.as_str(), one.name)).collect();
        let expected = [
            ("page_size", "NEGATIVE"),
            ("record_id", "NOT_A_UUID"),
            ("device_id", "NOT_A_UUID"),
        ];
        assert_eq!(violations, expected);
    }

    #[test]
    fn a_page_token_is_for_the_list_of_one_record() {
        let id = ID.parse().unwrap();
        assert_ne!(list_key(None), list_key(Some(id)));
        assert_eq!(change_number(7_i64.to_be_bytes()).unwrap(), 7);
        assert!(change_number(0_i64.to_be_bytes()).is_err());
    }
}
