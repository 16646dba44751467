//! The people that data knows, read and locked over gRPC as a service.

use std::time::Duration;

use chrono::{DateTime, Utc};
use haven_platform::{
    client::outgoing,
    deadline::Deadline,
    reason::{self, Reason},
};
use haven_proto::data::v1::{
    KnownUser, ListUsersRequest, LockUserRequest, UserState, person_service_client::PersonServiceClient,
};
use prost_types::Timestamp;
use thiserror::Error;
use tokio::time::sleep;
use tonic::{Response, Status, transport::Channel};
use uuid::Uuid;

use crate::{
    dispatcher::data_client::answer,
    domain::{
        outbox::means_down,
        reconciliation::{There, ThereState},
    },
};

/// The maximum number of people in a page, which is also the maximum number of ids in a request.
pub(super) const PAGE_SIZE: usize = 200;

/// The time limit of one call.
const TIMEOUT: Duration = Duration::from_secs(10);

/// The number of attempts of a call while data does not answer, a second apart.
const ATTEMPTS: u32 = 15;

/// The pause between two attempts.
const PAUSE: Duration = Duration::from_secs(1);

/// A client of data's `PersonService`.
#[derive(Clone, Debug)]
pub(super) struct DataPeople {
    people: PersonServiceClient<Channel>,
}

/// The reason why data was not asked successfully.
#[derive(Debug, Error)]
pub(super) enum DataError {
    /// Data does not answer, in any of the attempts.
    #[error("data does not answer {0}: {name}", name = reason::name(*.1))]
    Down(&'static str, Reason),
    /// Data refuses the call.
    #[error("data refuses {0}: {name}", name = reason::name(*.1))]
    Refused(&'static str, Reason),
    /// Data's answer has no meaning to this version.
    #[error("data's answer to {0} is not of this version: update identity")]
    Unknown(&'static str),
}

/// A page of people.
#[derive(Debug)]
pub(super) struct Page {
    pub(super) people: Vec<There>,
    /// The token of the next page. `None` on the last page.
    pub(super) next: Option<String>,
}

// === impl DataPeople ===

impl DataPeople {
    pub(super) fn new(people: PersonServiceClient<Channel>) -> Self {
        Self { people }
    }

    /// Reads the page of `token`, which is empty for the first page.
    pub(super) async fn page(&self, token: &str) -> Result<Page, DataError> {
        let request = ListUsersRequest {
            page_size: PAGE_SIZE as i32,
            page_token: token.to_owned(),
            user_ids: Vec::new(),
        };
        self.list(request).await
    }

    /// Reads those of `people` that data knows, at most [`PAGE_SIZE`].
    pub(super) async fn find(&self, people: &[Uuid]) -> Result<Vec<There>, DataError> {
        let request = ListUsersRequest {
            page_size: 0,
            page_token: String::new(),
            user_ids: people.iter().map(Uuid::to_string).collect(),
        };
        Ok(self.list(request).await?.people)
    }

    async fn list(&self, request: ListUsersRequest) -> Result<Page, DataError> {
        const RPC: &str = "ListUsers";
        let response = retry(RPC, request, async |request| {
            self.people.clone().list_users(request).await
        });
        let response = response.await?;
        let people = response.users.iter().map(there);
        Ok(Page {
            people: people.collect::<Option<_>>().ok_or(DataError::Unknown(RPC))?,
            next: Some(response.next_page_token).filter(|token| !token.is_empty()),
        })
    }

    /// Locks `person` under the id `request_id` of the request. Does nothing when data does not know the person any more.
    pub(super) async fn lock(&self, person: Uuid, request_id: Uuid) -> Result<(), DataError> {
        let request = LockUserRequest {
            user_id: person.to_string(),
            request_id: request_id.to_string(),
        };
        let locked = retry("LockUser", request, async |request| {
            self.people.clone().lock_user(request).await
        });
        match locked.await {
            Ok(_) | Err(DataError::Refused(_, Reason::NotFound)) => Ok(()),
            Err(error) => Err(error),
        }
    }
}

/// Calls data until it answers, at most [`ATTEMPTS`] times.
async fn retry<T: Clone, A>(
    rpc: &'static str,
    request: T,
    call: impl AsyncFn(tonic::Request<T>) -> Result<Response<A>, Status>,
) -> Result<A, DataError> {
    let mut attempts = 1;
    loop {
        let deadline = Deadline::after(TIMEOUT);
        let reason = match answer(call(outgoing(request.clone(), deadline)), deadline).await {
            Ok(answer) => return Ok(answer),
            Err(reason) => reason,
        };
        match means_down(reason) {
            true if attempts < ATTEMPTS => attempts += 1,
            true => return Err(DataError::Down(rpc, reason)),
            false => return Err(DataError::Refused(rpc, reason)),
        }
        sleep(PAUSE).await;
    }
}

/// Converts a person. `None` when the message has an unknown state, or lacks the time of its state.
fn there(user: &KnownUser) -> Option<There> {
    let state = match user.state() {
        UserState::Active => ThereState::Active(time(user.create_time.as_ref())?),
        UserState::Locked => ThereState::Locked(time(user.lock_time.as_ref())?),
        UserState::Erased => ThereState::Erased(time(user.erase_time.as_ref())?),
        UserState::Unspecified => return None,
    };
    Some(There {
        id: Uuid::try_parse(&user.user_id).ok()?,
        state,
    })
}

fn time(time: Option<&Timestamp>) -> Option<DateTime<Utc>> {
    let time = time?;
    DateTime::from_timestamp(time.seconds, u32::try_from(time.nanos).ok()?)
}

#[cfg(test)]
mod tests {
    use super::*;

    const ADA: &str = "01890a5d-ac96-774b-bcce-b302099a8057";

    #[test]
    fn a_person_has_the_time_of_their_state() {
        let at = |seconds| {
            Some(Timestamp {
                seconds,
                nanos: 5_000,
            })
        };
        let user = |state: UserState| KnownUser {
            user_id: ADA.into(),
            state: state.into(),
            create_time: at(1),
            lock_time: at(2),
            erase_time: at(3),
        };
        let seconds = |state| match there(&user(state)).unwrap().state {
            ThereState::Active(at) | ThereState::Locked(at) | ThereState::Erased(at) => at.timestamp(),
        };
        let states = [UserState::Active, UserState::Locked, UserState::Erased];
        assert_eq!(states.map(seconds), [1, 2, 3]);
        assert_eq!(there(&user(UserState::Unspecified)), None);
        let without_time = KnownUser {
            create_time: None,
            ..user(UserState::Active)
        };
        assert_eq!(there(&without_time), None);
        let newer = KnownUser {
            state: 99,
            ..user(UserState::Active)
        };
        assert_eq!(there(&newer), None);
    }
}
