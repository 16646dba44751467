//! The sessions that were ended, kept as identity lists them: their tokens are refused though they have not expired.
//!
//! They are asked for every ten seconds, so a token is mostly refused within ten seconds after its session was ended, and
//! within a minute when identity is slow, or does not answer twice in a row. While data cannot reach identity at all, and
//! people can, it goes on with what it knows: then a token is good until it expires.

use std::{future::pending, sync::Arc, time::Duration};

use haven_platform::{auth::EndedSessions, client::outgoing, deadline::Deadline};
use haven_proto::identity::v1::{
    ListEndedSessionsRequest, ListEndedSessionsResponse, session_service_client::SessionServiceClient,
};
use thiserror::Error;
use tonic::{Status, transport::Channel};
use uuid::Uuid;

use super::{Pace, follow};

const PACE: Pace = Pace {
    fresh: Duration::from_secs(10),
    again: Duration::from_secs(5),
    first: Duration::from_millis(200),
    seldom: Duration::from_secs(1),
};

/// How long identity may take to answer, over all pages.
const TIMEOUT: Duration = Duration::from_secs(10);

/// Keeps `ended` as identity lists them. Ends only by being dropped.
pub async fn keep(ended: Arc<EndedSessions>, identity: SessionServiceClient<Channel>) {
    let refresh = async || {
        let deadline = Deadline::after(TIMEOUT);
        let page = |request| {
            let mut identity = identity.clone();
            async move {
                let page = identity.list_ended_sessions(outgoing(request, deadline));
                Ok(page.await?.into_inner())
            }
        };
        ended.replace(all(page).await?);
        Ok::<_, AskError>(None)
    };
    follow("ended sessions", PACE, refresh, pending).await;
}

/// Why there is no new list.
#[derive(Debug, Error)]
enum AskError {
    #[error("identity answered {:?}", .0.code())]
    Refused(#[from] Status),
    #[error("identity listed a session whose id is no UUID")]
    NotAnId(#[from] uuid::Error),
}

/// All pages, or nothing: a list with a hole in it would let somebody back in.
async fn all<P>(page: impl Fn(ListEndedSessionsRequest) -> P) -> Result<Vec<Uuid>, AskError>
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

    /// Pages called ``, `1` and `2`, of which the third may be one that does not come.
    async fn list(third: Result<&str, Status>) -> Result<Vec<u128>, AskError> {
        let page = |request: ListEndedSessionsRequest| {
            let third = third.clone();
            async move {
                let id = |id: u128| Uuid::from_u128(id).to_string();
                let (session_ids, next) = match request.page_token.as_str() {
                    "" => (vec![id(1), id(2)], "1"),
                    // A page can be empty and not be the last.
                    "1" => (vec![], "2"),
                    _ => (vec![third?.to_owned()], ""),
                };
                Ok(ListEndedSessionsResponse {
                    session_ids,
                    next_page_token: next.to_owned(),
                })
            }
        };
        let ids = all(page).await?;
        Ok(ids.iter().map(Uuid::as_u128).collect())
    }

    #[tokio::test]
    async fn every_page_is_fetched_or_nothing_counts() {
        let three = Uuid::from_u128(3).to_string();
        assert_eq!(list(Ok(&three)).await.unwrap(), [1, 2, 3]);
        assert!(matches!(list(Ok("3")).await, Err(AskError::NotAnId(_))));
        let down = Status::from_error("down".into());
        assert!(matches!(list(Err(down)).await, Err(AskError::Refused(_))));
    }
}
