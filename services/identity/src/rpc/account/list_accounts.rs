//! ListAccounts: lists all accounts for services.

use chrono::{DateTime, Utc};
use haven_platform::{
    call::{Call, UserId},
    cursor::Cursor,
    failure::{Failure, Violation},
    handler::Handler,
    page::PageSize,
    reason::Reason,
    time::stored_time,
    violations::Violations,
};
use haven_proto::identity::v1::{ListAccountsRequest, ListAccountsResponse};
use prost_types::Timestamp;
use uuid::Uuid;

use super::{AccountRpc, account_message::account_message};
use crate::domain::{account::AccountFilter, progress::Stage};

/// The owner of the page tokens: no person. The service's name is part of the list that a token is bound to.
const NO_USER: UserId = UserId::new(Uuid::nil());

impl Handler<ListAccountsRequest> for AccountRpc {
    type Answer = ListAccountsResponse;

    async fn handle(
        &self,
        call: &Call,
        request: ListAccountsRequest,
    ) -> Result<ListAccountsResponse, Failure> {
        let service = call.caller.service.as_ref();
        let service = service.ok_or_else(|| Failure::new(Reason::AccessDenied))?;
        let (filter, size) = parse(&request)?;
        let list = list_key(service.as_str(), filter);
        let after = self
            .page_tokens
            .time_cursor(NO_USER, &list, &request.page_token)?;
        let page = self
            .accounts
            .list(filter, after, size, request.include_email, call.deadline)
            .await?;
        let next_page_token = self.page_tokens.next(NO_USER, &list, &page, |last| {
            let cursor = Cursor {
                at: last.created_at,
                id: *last.id.as_uuid(),
            };
            cursor.to_bytes()
        });
        Ok(ListAccountsResponse {
            accounts: page.items.iter().map(account_message).collect(),
            next_page_token,
        })
    }
}

fn parse(request: &ListAccountsRequest) -> Result<(AccountFilter, PageSize), Failure> {
    let mut violations = Violations::new();
    let size = PageSize::parse(request.page_size, &mut violations);
    let stage = Stage::new(request.stage);
    if stage.is_none() && request.stage != 0 {
        violations.add(Violation::new(
            "stage",
            "UNKNOWN_VALUE",
            "stage must be 1, 2 or 3",
        ));
    }
    let created_from = parse_time("created_from", request.created_from.as_ref(), &mut violations);
    let created_before = parse_time("created_before", request.created_before.as_ref(), &mut violations);
    if created_from
        .zip(created_before)
        .is_some_and(|(from, before)| from >= before)
    {
        let description = "created_before must be later than created_from";
        violations.add(Violation::new("created_before", "NOT_LATER", description));
    }
    let filter = AccountFilter {
        stage,
        created_from,
        created_before,
    };
    Ok((filter, violations.finish(size)?))
}

/// Parses the time in `field`, if it is set. `None` also when it is invalid, which adds a violation.
fn parse_time(
    field: &'static str,
    value: Option<&Timestamp>,
    violations: &mut Violations,
) -> Option<DateTime<Utc>> {
    let time = stored_time(value?);
    if time.is_none() {
        let description = format!("{field} must be a time from year 1 to year 9999");
        violations.add(Violation::new(field, "NOT_A_TIME", description));
    }
    time
}

/// The fields that must stay the same from page to page. The service's name has no fixed length, so it is last.
fn list_key(service: &str, filter: AccountFilter) -> Vec<u8> {
    let mut key = b"ListAccounts".to_vec();
    key.push(filter.stage.map_or(0, Stage::get));
    for time in [filter.created_from, filter.created_before] {
        key.push(time.is_some().into());
        let micros = time.map_or(0, |time| time.timestamp_micros());
        key.extend_from_slice(&micros.to_be_bytes());
    }
    key.extend_from_slice(service.as_bytes());
    key
}

#[cfg(test)]
mod tests {
    use super::*;

    fn at(seconds: i64, nanos: i32) -> Option<Timestamp> {
        Some(Timestamp { seconds, nanos })
    }

    fn violations_of(request: &ListAccountsRequest) -> Vec<String> {
        let failure = parse(request).unwrap_err();
        assert_eq!(failure.reason(), Reason::InvalidField);
        let violations = failure.all_violations().iter();
        violations
            .map(|one| format!("{} {}", one.field, one.name))
            .collect()
    }

    #[test]
    fn a_filter_is_parsed() {
        let (filter, size) = parse(&ListAccountsRequest::default()).unwrap();
        let all = AccountFilter {
            stage: None,
            created_from: None,
            created_before: None,
        };
        assert_eq!((filter, size.get()), (all, PageSize::DEFAULT));
        let request = ListAccountsRequest {
            stage: 3,
            created_from: at(1, 0),
            created_before: at(1, 1_999),
            ..Default::default()
        };
        let (filter, _) = parse(&request).unwrap();
        assert_eq!(filter.stage, Stage::new(3));
        let micros = |time: Option<DateTime<Utc>>| time.map(|time| time.timestamp_micros());
        assert_eq!(micros(filter.created_from), Some(1_000_000));
        assert_eq!(micros(filter.created_before), Some(1_000_001), "rounded down");
        let request = ListAccountsRequest {
            created_from: at(1, 999_999_999),
            ..Default::default()
        };
        let (filter, _) = parse(&request).unwrap();
        assert_eq!(micros(filter.created_from), Some(1_999_999));
    }

    #[test]
    fn everything_wrong_is_reported_at_once() {
        let request = ListAccountsRequest {
            page_size: -1,
            stage: 4,
            created_from: at(0, 1_000_000_000),
            created_before: at(i64::MAX, 0),
            ..Default::default()
        };
        let expected = [
            "page_size NEGATIVE",
            "stage UNKNOWN_VALUE",
            "created_from NOT_A_TIME",
            "created_before NOT_A_TIME",
        ];
        assert_eq!(violations_of(&request), expected);
        for (from, before) in [(at(1, 0), at(1, 0)), (at(2, 0), at(1, 0))] {
            let request = ListAccountsRequest {
                created_from: from,
                created_before: before,
                ..Default::default()
            };
            assert_eq!(violations_of(&request), ["created_before NOT_LATER"]);
        }
        for time in [at(0, -1), at(253_402_300_800, 0), at(-62_135_596_801, 0)] {
            let request = ListAccountsRequest {
                created_before: time,
                ..Default::default()
            };
            assert_eq!(violations_of(&request), ["created_before NOT_A_TIME"], "{time:?}");
        }
    }

    #[test]
    fn a_page_token_is_bound_to_the_service_and_the_filter() {
        let filter = |stage, from| AccountFilter {
            stage: Stage::new(stage),
            created_from: DateTime::from_timestamp(from, 0),
            created_before: None,
        };
        let lists = [
            list_key("backend", filter(1, 1)),
            list_key("data", filter(1, 1)),
            list_key("backend", filter(0, 1)),
            list_key("backend", filter(1, 2)),
            list_key(
                "backend",
                AccountFilter {
                    created_from: None,
                    ..filter(1, 0)
                },
            ),
            list_key("backend", filter(1, 0)),
        ];
        for (i, list) in lists.iter().enumerate() {
            assert!(!lists[..i].contains(list), "{i}");
        }
        // A cursor's length is part of its type; only its time can be out of range.
        let mut out_of_range = [0; 24];
        out_of_range[..8].copy_from_slice(&i64::MAX.to_be_bytes());
        assert!(Cursor::from_bytes(out_of_range).is_none());
        assert!(Cursor::from_bytes([0; 24]).is_some());
    }
}
