//! ListUsers: lists the ids and states of people for a service, by pages or by ids.

use haven_platform::{
    call::{Call, UserId},
    failure::{Failure, Violation},
    handler::Handler,
    page::PageSize,
    time::timestamp,
    violations::Violations,
};
use haven_proto::data::v1::{self as proto, ListUsersRequest, ListUsersResponse};
use uuid::Uuid;

use super::PersonRpc;
use crate::{
    domain::known_user::{KnownUser, UserState},
    rpc::{NO_USER, calling_service},
};

/// The maximum number of ids in a request.
const MAX_IDS: usize = PageSize::MAX as usize;

impl Handler<ListUsersRequest> for PersonRpc {
    type Answer = ListUsersResponse;

    async fn handle(&self, call: &Call, request: ListUsersRequest) -> Result<ListUsersResponse, Failure> {
        let list = list_bytes(calling_service(call)?.as_str());
        let (size, ids) = parse(&request)?;
        if !ids.is_empty() {
            let users = self.people.find(&ids, call.deadline).await?;
            return Ok(ListUsersResponse {
                users: users.into_iter().map(known_user_to_proto).collect(),
                next_page_token: String::new(),
            });
        }
        let after = self.pages.cursor(NO_USER, &list, &request.page_token)?;
        let after = after.map(|bytes| UserId::new(Uuid::from_bytes(bytes)));
        let page = self.people.list(after, size, call.deadline).await?;
        let next_page_token = self
            .pages
            .next(NO_USER, &list, &page, |last| *last.id.as_uuid().as_bytes());
        Ok(ListUsersResponse {
            users: page.items.into_iter().map(known_user_to_proto).collect(),
            next_page_token,
        })
    }
}

fn parse(request: &ListUsersRequest) -> Result<(PageSize, Vec<Uuid>), Failure> {
    let mut violations = Violations::new();
    let size = PageSize::parse(request.page_size, &mut violations);
    let mut ids = Vec::new();
    if request.user_ids.len() > MAX_IDS {
        let description = "user_ids must have at most 200 ids";
        violations.add(Violation::new("user_ids", "TOO_MANY", description));
    } else {
        for (index, id) in request.user_ids.iter().enumerate() {
            ids.push(violations.uuid(format!("user_ids[{index}]"), id));
        }
    }
    if !request.user_ids.is_empty() && !request.page_token.is_empty() {
        let description = "page_token must be empty when user_ids is set, because there is only one page";
        violations.add(Violation::new("page_token", "NOT_WITH_USER_IDS", description));
    }
    Ok((violations.finish(size)?, ids))
}

/// Returns the bytes that must be the same on each page. The service's name is last, because its length is not fixed.
fn list_bytes(service: &str) -> Vec<u8> {
    [b"ListUsers", service.as_bytes()].concat()
}

/// Converts a person to the message.
fn known_user_to_proto(user: KnownUser) -> proto::KnownUser {
    let (state, created_at, locked_at, erased_at) = match user.state {
        UserState::Active { created_at } => (proto::UserState::Active, Some(created_at), None, None),
        UserState::Locked {
            created_at,
            locked_at,
        } => (proto::UserState::Locked, Some(created_at), Some(locked_at), None),
        UserState::Erased { erased_at } => (proto::UserState::Erased, None, None, Some(erased_at)),
    };
    proto::KnownUser {
        user_id: user.id.to_string(),
        state: state.into(),
        create_time: created_at.map(timestamp),
        lock_time: locked_at.map(timestamp),
        erase_time: erased_at.map(timestamp),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    const ADA: &str = "01890a5d-ac96-774b-bcce-b302099a8057";

    fn violations_of(request: &ListUsersRequest) -> Vec<String> {
        let failure = parse(request).unwrap_err();
        let violations = failure.all_violations().iter();
        violations
            .map(|one| format!("{} {}", one.field, one.name))
            .collect()
    }

    #[test]
    fn users_are_listed_by_pages_or_by_ids() {
        let ids = |count| vec![ADA.to_owned(); count];
        let request = |page_size, page_token: &str, user_ids| ListUsersRequest {
            page_size,
            page_token: page_token.to_owned(),
            user_ids,
        };
        let (size, parsed) = parse(&request(0, "token", Vec::new())).unwrap();
        assert_eq!((size.get(), parsed.len()), (50, 0));
        assert_eq!(parse(&request(0, "", ids(200))).unwrap().1.len(), 200);
        assert_eq!(
            violations_of(&request(-1, "token", vec![ADA.to_owned(), "ada".to_owned()])),
            [
                "page_size NEGATIVE",
                "user_ids[1] NOT_A_UUID",
                "page_token NOT_WITH_USER_IDS"
            ]
        );
        assert_eq!(violations_of(&request(0, "", ids(201))), ["user_ids TOO_MANY"]);
    }
}
