//! The cache of identity's list of ended sessions. Their tokens are rejected before they expire.
//!
//! The list is fetched every ten seconds. A token is therefore usually rejected within ten seconds after its session
//! has ended, and within a minute when identity is slow or fails twice in a row. While this service cannot reach
//! identity at all, the cached list stays in use, and a token of a session that ends then is accepted until it expires.

use std::{future::pending, sync::Arc, time::Duration};

use haven_platform::{auth::EndedSessions, client::outgoing, deadline::Deadline};
use haven_proto::identity::v1::{
    ListEndedSessionsRequest, ListEndedSessionsResponse, session_service_client::SessionServiceClient,
};
use thiserror::Error;
use tonic::{Status, transport::Channel};
use uuid::Uuid;

use super::{RefreshIntervals, refresh_periodically};

/// The intervals between requests for the list.
const INTERVALS: RefreshIntervals = RefreshIntervals {
    after_success: Duration::from_secs(10),
    after_failure: Duration::from_secs(5),
    before_first_answer: Duration::from_millis(200),
    min: Duration::from_secs(1),
};

/// The time limit for all pages of the list.
const TIMEOUT: Duration = Duration::from_secs(10);

/// Refreshes `ended` from identity periodically. Never returns.
pub async fn run(ended: Arc<EndedSessions>, identity: SessionServiceClient<Channel>) {
    let refresh = async || {
        let deadline = Deadline::after(TIMEOUT);
        let page = |request| {
            let mut identity = identity.clone();
            async move {
                let page = identity.list_ended_sessions(outgoing(request, deadline));
                Ok(page.await?.into_inner())
            }
        };
        ended.replace(fetch_all(page).await?);
        Ok::<_, RefreshError>(None)
    };
    refresh_periodically("ended sessions", INTERVALS, refresh, pending).await;
}

/// The reason why a refresh failed.
#[derive(Debug, Error)]
enum RefreshError {
    #[error("identity answered {:?}", .0.code())]
    Refused(#[from] Status),
    #[error("identity listed a session with an id that is not a UUID")]
    NotAnId(#[from] uuid::Error),
}

/// Fetches all pages of the list. Fails when any page fails: an incomplete list would accept tokens of ended sessions.
async fn fetch_all<P>(page: impl Fn(ListEndedSessionsRequest) -> P) -> Result<Vec<Uuid>, RefreshError>
where
    P: Future<Output = Result<ListEndedSessionsResponse, Status>>,
{
    let (mut ids, mut request) = (Vec::new(), ListEndedSessionsRequest::default());
    loop {
        let page = page(request.clone()).await?;
        for id in &page.session_ids {
            ids.push(Uuid::try_parse(id)?);
        }
        if page.next_page_token.is_empty() {
            return Ok(ids);
        }
        request.page_token = page.next_page_token;
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    /// Fetches a list of three pages with the tokens ``, `1` and `2`; the third page is `third`.
    async fn list(third: Result<&str, Status>) -> Result<Vec<u128>, RefreshError> {
        let page = |request: ListEndedSessionsRequest| {
            let third = third.clone();
            async move {
                let id = |id: u128| Uuid::from_u128(id).to_string();
                let (session_ids, next) = match request.page_token.as_str() {
                    "" => (vec![id(1), id(2)], "1"),
                    // A page that is not the last may be empty.
                    "1" => (vec![], "2"),
                    _ => (vec![third?.to_owned()], ""),
                };
                Ok(ListEndedSessionsResponse {
                    session_ids,
                    next_page_token: next.to_owned(),
                })
            }
        };
        let ids = fetch_all(page).await?;
        Ok(ids.iter().map(Uuid::as_u128).collect())
    }

    #[tokio::test]
    async fn the_list_has_every_page_or_the_refresh_fails() {
        let three = Uuid::from_u128(3).to_string();
        assert_eq!(list(Ok(&three)).await.unwrap(), [1, 2, 3]);
        assert!(matches!(list(Ok("3")).await, Err(RefreshError::NotAnId(_))));
        let down = Status::from_error("down".into());
        assert!(matches!(list(Err(down)).await, Err(RefreshError::Refused(_))));
    }
}
