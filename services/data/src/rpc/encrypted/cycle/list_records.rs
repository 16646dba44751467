//! ListRecords: lists records that are not deleted, in a choice of orders, filtered by local time.

use chrono::DateTime;
use haven_platform::{
    call::Call,
    failure::{Failure, Violation},
    handler::Handler,
    page::PageSize,
    reason::Reason,
    violations::Violations,
};
use haven_proto::data::v1::{self as proto, ListRecordsRequest, ListRecordsResponse};
use uuid::Uuid;

use super::{
    super::{local_time, rotation_notice::WithRotationNotice},
    CycleRpc,
    record::record_message,
};
use crate::domain::encrypted::record_list::{RecordCursor, RecordListing, RecordOrder};

/// The maximum number of records on a page: as many of the largest ones as fit into a response.
const MAX_PAGE_SIZE: u8 = 50;

/// A parsed request. The page token is not opened yet.
#[derive(Debug, PartialEq, Eq)]
struct List {
    listing: RecordListing,
    size: PageSize,
    token: String,
    device: Option<Uuid>,
}

impl Handler<ListRecordsRequest> for CycleRpc {
    type Answer = WithRotationNotice<ListRecordsResponse>;

    async fn handle(&self, call: &Call, request: ListRecordsRequest) -> Result<Self::Answer, Failure> {
        let caller = call.user()?;
        let List {
            listing,
            size,
            token,
            device,
        } = List::parse(request)?;
        let list = list_key(listing);
        let after = self.pages.cursor(caller, &list, &token)?;
        let after = after.map(from_bytes).transpose()?;
        let listed = self
            .records
            .list(caller, device, listing, after, size, call.deadline)
            .await?;
        let next_page_token = self.pages.next(caller, &list, &listed.page, |last| {
            to_bytes(RecordCursor::of(last))
        });
        Ok(WithRotationNotice::new(
            ListRecordsResponse {
                next_page_token,
                records: listed.page.items.into_iter().map(record_message).collect(),
            },
            listed.next_rotation_at,
            self.clock.now(),
        ))
    }
}

impl List {
    fn parse(request: ListRecordsRequest) -> Result<Self, Failure> {
        let mut violations = Violations::new();
        let size = PageSize::parse(request.page_size, &mut violations);
        let order = order(request.order, &mut violations);
        let from = local_time::optional(
            "from_local_time",
            request.from_local_time.as_ref(),
            &mut violations,
        );
        let until = local_time::optional(
            "until_local_time",
            request.until_local_time.as_ref(),
            &mut violations,
        );
        if from.zip(until).is_some_and(|(from, until)| from >= until) {
            let description = "until_local_time must be later than from_local_time";
            violations.add(Violation::new("until_local_time", "NOT_LATER", description));
        }
        let device = violations.optional_uuid("device_id", &request.device_id);
        let (size, order) = violations.finish(size.zip(order))?;
        Ok(Self {
            listing: RecordListing {
                order,
                from,
                until,
                reencryption_due: request.reencryption_due,
            },
            size: size.at_most(MAX_PAGE_SIZE),
            token: request.page_token,
            device,
        })
    }
}

/// Parses the order. `None` when it is unknown, which adds a violation.
fn order(order: i32, violations: &mut Violations) -> Option<RecordOrder> {
    match proto::RecordOrder::try_from(order) {
        Ok(proto::RecordOrder::Unspecified | proto::RecordOrder::NewestFirst) => {
            Some(RecordOrder::NewestFirst)
        }
        Ok(proto::RecordOrder::OldestFirst) => Some(RecordOrder::OldestFirst),
        Ok(proto::RecordOrder::ByChange) => Some(RecordOrder::ByChange),
        Err(_) => {
            violations.unknown_value("order");
            None
        }
    }
}

/// Returns the fields that must stay the same from page to page.
fn list_key(listing: RecordListing) -> Vec<u8> {
    let order: &[u8] = match listing.order {
        RecordOrder::NewestFirst => b"ListRecords, newest first",
        RecordOrder::OldestFirst => b"ListRecords, oldest first",
        RecordOrder::ByChange => b"ListRecords, by change",
    };
    let mut list = order.to_vec();
    list.push(listing.reencryption_due.into());
    for bound in [listing.from, listing.until] {
        list.push(bound.is_some().into());
        let micros = bound.map_or(0, |time| time.timestamp_micros());
        list.extend_from_slice(&micros.to_be_bytes());
    }
    list
}

/// Converts a cursor into the bytes of a page token: microseconds since 1970, change number, id.
fn to_bytes(cursor: RecordCursor) -> [u8; 32] {
    let mut bytes = [0; 32];
    bytes[..8].copy_from_slice(&cursor.local_time.timestamp_micros().to_be_bytes());
    bytes[8..16].copy_from_slice(&cursor.change_number.to_be_bytes());
    bytes[16..].copy_from_slice(cursor.id.as_bytes());
    bytes
}

/// Parses the bytes of a page token.
fn from_bytes(bytes: [u8; 32]) -> Result<RecordCursor, Failure> {
    let cursor = bytes.split_first_chunk().and_then(|(micros, rest)| {
        let (number, id) = rest.split_first_chunk()?;
        Some(RecordCursor {
            local_time: DateTime::from_timestamp_micros(i64::from_be_bytes(*micros))?,
            change_number: i64::from_be_bytes(*number),
            id: Uuid::from_slice(id).ok()?,
        })
    });
    cursor.ok_or_else(|| Failure::new(Reason::PageTokenInvalid))
}

#[cfg(test)]
mod tests;
