//! ListAccounts: every account, for services.

use chrono::{DateTime, Datelike, TimeDelta, Utc};
use haven_platform::{
    call::{Call, UserId},
    failure::{Failure, Violation},
    page::PageSize,
    reason::Reason,
    violations::Violations,
};
use haven_proto::identity::v1::{ListAccountsRequest, ListAccountsResponse};
use prost_types::Timestamp;
use uuid::Uuid;

use crate::rpc::{IdentityRpc, account::get_account::account_message};
use crate::{
    domain::progress::Stage,
    store::account::list_accounts::{AccountFilter, AccountPlace},
};

/// Whose a service's page tokens are: its own, by its name, and no person's.
const NOBODY: UserId = UserId::new(Uuid::nil());

impl IdentityRpc {
    pub(in crate::rpc) async fn list_accounts_of(
        &self,
        call: &Call,
        request: ListAccountsRequest,
    ) -> Result<ListAccountsResponse, Failure> {
        let service = call.caller.service.as_ref();
        let service = service.ok_or_else(|| Failure::new(Reason::AccessDenied))?;
        let (filter, size) = parse(&request)?;
        let list = list_of(service.as_str(), filter);
        let after = self.pages.cursor(NOBODY, &list, &request.page_token)?;
        let after = after.map(place).transpose()?;
        let page = self
            .accounts
            .list(filter, after, size, request.include_email, call.deadline)
            .await?;
        let last = page.accounts.last().filter(|_| page.more);
        let next_page_token = last.map(|last| {
            let micros = last.created_at.timestamp_micros().to_be_bytes();
            let cursor = [micros.as_slice(), last.id.as_uuid().as_bytes()].concat();
            self.pages.seal(NOBODY, &list, &cursor)
        });
        Ok(ListAccountsResponse {
            accounts: page.accounts.iter().map(account_message).collect(),
            next_page_token: next_page_token.unwrap_or_default(),
        })
    }
}

fn parse(request: &ListAccountsRequest) -> Result<(AccountFilter, PageSize), Failure> {
    let mut violations = Violations::new();
    let size = PageSize::parse(request.page_size, &mut violations);
    let stage = Stage::new(request.stage);
    if stage.is_none() && request.stage != 0 {
        violations.add(Violation::new("stage", "UNKNOWN_VALUE", "The stages are 1 to 3"));
    }
    let created_from = time("created_from", request.created_from.as_ref(), &mut violations);
    let created_before = time("created_before", request.created_before.as_ref(), &mut violations);
    if created_from
        .zip(created_before)
        .is_some_and(|(from, before)| from >= before)
    {
        let description = "This has to be later than `created_from`";
        violations.add(Violation::new("created_before", "NOT_LATER", description));
    }
    let filter = AccountFilter {
        stage,
        created_from,
        created_before,
    };
    Ok((filter, violations.finish(size)?))
}

/// The time that is sent in `field`, if one is: in whole microseconds, as accounts have theirs, and rounded up, which changes
/// neither what was made at that time or later nor what was made before it.
fn time(field: &'static str, sent: Option<&Timestamp>, violations: &mut Violations) -> Option<DateTime<Utc>> {
    let sent = sent?;
    let nanos = u32::try_from(sent.nanos)
        .ok()
        .filter(|nanos| *nanos < 1_000_000_000);
    let time = nanos
        .and_then(|nanos| {
            let up = TimeDelta::nanoseconds((nanos.next_multiple_of(1_000) - nanos).into());
            DateTime::from_timestamp(sent.seconds, nanos)?.checked_add_signed(up)
        })
        // What a `google.protobuf.Timestamp` can be.
        .filter(|time| (1..=9999).contains(&time.year()));
    if time.is_none() {
        violations.add(Violation::new(field, "NOT_A_TIME", "This has to be a time"));
    }
    time
}

/// What has to be the same from page to page. The service's name, which is as long as it likes, is last.
fn list_of(service: &str, filter: AccountFilter) -> Vec<u8> {
    let mut list = b"ListAccounts".to_vec();
    list.push(filter.stage.map_or(0, Stage::get));
    for time in [filter.created_from, filter.created_before] {
        list.push(time.is_some().into());
        let micros = time.map_or(0, |time| time.timestamp_micros());
        list.extend_from_slice(&micros.to_be_bytes());
    }
    list.extend_from_slice(service.as_bytes());
    list
}

/// The place that a page token holds.
fn place(cursor: [u8; 24]) -> Result<AccountPlace, Failure> {
    let place = cursor.split_first_chunk().and_then(|(micros, id)| {
        Some(AccountPlace {
            created_at: DateTime::from_timestamp_micros(i64::from_be_bytes(*micros))?,
            id: Uuid::from_slice(id).ok()?,
        })
    });
    place.ok_or_else(|| Failure::new(Reason::PageTokenInvalid))
}

#[cfg(test)]
mod tests {
    use super::*;

    fn at(seconds: i64, nanos: i32) -> Option<Timestamp> {
        Some(Timestamp { seconds, nanos })
    }

    fn wrong(request: &ListAccountsRequest) -> Vec<String> {
        let failure = parse(request).unwrap_err();
        assert_eq!(failure.reason(), Reason::InvalidField);
        let violations = failure.all_violations().iter();
        violations
            .map(|one| format!("{} {}", one.field, one.name))
            .collect()
    }

    #[test]
    fn a_filter_is_taken_as_it_is_meant() {
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
            created_before: at(1, 1),
            ..Default::default()
        };
        let (filter, _) = parse(&request).unwrap();
        assert_eq!(filter.stage, Stage::new(3));
        let micros = |time: Option<DateTime<Utc>>| time.map(|time| time.timestamp_micros());
        assert_eq!(micros(filter.created_from), Some(1_000_000));
        assert_eq!(micros(filter.created_before), Some(1_000_001), "rounded up");
        let request = ListAccountsRequest {
            created_from: at(1, 999_999_999),
            ..Default::default()
        };
        let (filter, _) = parse(&request).unwrap();
        assert_eq!(micros(filter.created_from), Some(2_000_000));
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
        assert_eq!(wrong(&request), expected);
        for (from, before) in [(at(1, 0), at(1, 0)), (at(2, 0), at(1, 0))] {
            let request = ListAccountsRequest {
                created_from: from,
                created_before: before,
                ..Default::default()
            };
            assert_eq!(wrong(&request), ["created_before NOT_LATER"]);
        }
        for time in [
            at(0, -1),
            at(253_402_300_800, 0),
            at(253_402_300_799, 999_999_999),
            at(-62_135_596_801, 0),
        ] {
            let request = ListAccountsRequest {
                created_before: time,
                ..Default::default()
            };
            assert_eq!(wrong(&request), ["created_before NOT_A_TIME"], "{time:?}");
        }
    }

    #[test]
    fn a_list_is_one_services_with_one_filter() {
        let filter = |stage, from| AccountFilter {
            stage: Stage::new(stage),
            created_from: DateTime::from_timestamp(from, 0),
            created_before: None,
        };
        let lists = [
            list_of("backend", filter(1, 1)),
            list_of("data", filter(1, 1)),
            list_of("backend", filter(0, 1)),
            list_of("backend", filter(1, 2)),
            list_of(
                "backend",
                AccountFilter {
                    created_from: None,
                    ..filter(1, 0)
                },
            ),
            list_of("backend", filter(1, 0)),
        ];
        for (i, list) in lists.iter().enumerate() {
            assert!(!lists[..i].contains(list), "{i}");
        }
        // Its length is part of its type; a time that cannot be is left to refuse.
        let mut never = [0; 24];
        never[..8].copy_from_slice(&i64::MAX.to_be_bytes());
        assert!(place(never).is_err());
        assert!(place([0; 24]).is_ok());
    }
}
