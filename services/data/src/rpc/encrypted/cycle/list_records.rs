//! Listing records: which ones, in which order, a page at a time.

use chrono::{DateTime, TimeDelta, Utc};
use haven_platform::{
    call::Call,
    failure::{Failure, Violation},
    page::PageSize,
    reason::Reason,
    violations::Violations,
};
use haven_proto::data::v1::{self as proto, ListRecordsRequest, ListRecordsResponse};
use prost_types::Timestamp;
use uuid::Uuid;

use super::{EncryptedRpc, local_time, message::record_message, notice::Noticed};
use crate::domain::encrypted::record_list::{RecordCursor, RecordListing, RecordOrder};

/// How many records a page has at most: of the largest, they fit into an answer.
const MOST: u8 = 50;

/// A page that somebody wants to see. Its token is not opened yet.
#[derive(Debug, PartialEq, Eq)]
struct List {
    listing: RecordListing,
    size: PageSize,
    token: String,
    device: Option<Uuid>,
}

impl EncryptedRpc {
    pub(super) async fn list_records_of(
        &self,
        call: &Call,
        request: ListRecordsRequest,
    ) -> Result<Noticed<ListRecordsResponse>, Failure> {
        let owner = call.user()?;
        let List {
            listing,
            size,
            token,
            device,
        } = List::parse(&request)?;
        let list = same_on_each_page(listing);
        let after = self.pages.cursor(owner, &list, &token)?;
        let after = after.map(place).transpose()?;
        let page = self
            .records
            .list(owner, call.deadline, listing, after, size, device)
            .await?;
        let last = page.records.last().filter(|_| page.more);
        let next_page_token = last.map(|last| self.pages.seal(owner, &list, &cursor(RecordCursor::of(last))));
        Ok(Noticed {
            answer: ListRecordsResponse {
                next_page_token: next_page_token.unwrap_or_default(),
                records: page.records.into_iter().map(record_message).collect(),
            },
            next_rotation_at: page.next_rotation_at,
        })
    }
}

impl List {
    fn parse(request: &ListRecordsRequest) -> Result<Self, Failure> {
        let mut violations = Violations::new();
        let size = PageSize::parse(request.page_size, &mut violations);
        let order = order(request).map_err(|violation| violations.add(violation)).ok();
        let from = bound(
            "from_local_time",
            request.from_local_time.as_ref(),
            &mut violations,
        );
        let until = bound(
            "until_local_time",
            request.until_local_time.as_ref(),
            &mut violations,
        );
        if from.zip(until).is_some_and(|(from, until)| from >= until) {
            let description = "This has to be later than `from_local_time`";
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
            size: size.at_most(MOST),
            token: request.page_token.clone(),
            device,
        })
    }
}

fn order(request: &ListRecordsRequest) -> Result<RecordOrder, Violation> {
    match proto::RecordOrder::try_from(request.order) {
        Ok(proto::RecordOrder::Unspecified | proto::RecordOrder::NewestFirst) => Ok(RecordOrder::NewestFirst),
        Ok(proto::RecordOrder::OldestFirst) => Ok(RecordOrder::OldestFirst),
        Ok(proto::RecordOrder::ByChange) => Ok(RecordOrder::ByChange),
        Err(_) => Err(Violation::unknown_value("order")),
    }
}

/// A bound of a list, if one is sent. Records have their times in whole microseconds. Rounded up to one, it changes
/// neither what happened then or later nor what happened before.
fn bound(
    field: &'static str,
    sent: Option<&Timestamp>,
    violations: &mut Violations,
) -> Option<DateTime<Utc>> {
    let whole = sent.is_none_or(|sent| sent.nanos % 1_000 == 0);
    let up = TimeDelta::microseconds(if whole { 0 } else { 1 });
    local_time::optional(field, sent, violations).map(|time| time + up)
}

/// What has to be the same from page to page.
fn same_on_each_page(listing: RecordListing) -> Vec<u8> {
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

fn cursor(place: RecordCursor) -> [u8; 32] {
    let mut cursor = [0; 32];
    cursor[..8].copy_from_slice(&place.local_time.timestamp_micros().to_be_bytes());
    cursor[8..16].copy_from_slice(&place.change_number.to_be_bytes());
    cursor[16..].copy_from_slice(place.id.as_bytes());
    cursor
}

/// The place that a page token holds.
fn place(cursor: [u8; 32]) -> Result<RecordCursor, Failure> {
    let place = cursor.split_first_chunk().and_then(|(micros, rest)| {
        let (number, id) = rest.split_first_chunk()?;
        Some(RecordCursor {
            local_time: DateTime::from_timestamp_micros(i64::from_be_bytes(*micros))?,
            change_number: i64::from_be_bytes(*number),
            id: Uuid::from_slice(id).ok()?,
        })
    });
    place.ok_or_else(|| Failure::new(Reason::PageTokenInvalid))
}

#[cfg(test)]
mod tests;
