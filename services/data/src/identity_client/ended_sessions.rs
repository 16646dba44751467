//! The cache of identity's list of ended sessions. Their tokens are rejected before they expire.
//!
//! The list is fetched every ten seconds. A token is therefore usually rejected within ten seconds after its session
//! has ended, and within a minute when identity is slow or fails twice in a row. While this service cannot reach
//! identity at all, the cached list stays in use, and a token of a session that ends then is accepted until it expires.

use std::{array::TryFromSliceError, future::pending, sync::Arc, time::Duration};

use haven_platform::{
    auth::{EndedSessions, SessionDigest},
    client::outgoing,
    deadline::Deadline,
};
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
    #[error("identity listed a session with a digest that is not 32 bytes long")]
    NotADigest(#[from] TryFromSliceError),
}

/// Fetches all pages of the list. An identity of an earlier version lists no digests: its ids then end the session of every
/// person with this id. Fails when any page fails: an incomplete list would accept tokens of ended sessions.
async fn fetch_all<P>(
    page: impl Fn(ListEndedSessionsRequest) -> P,
) -> Result<Vec<SessionDigest>, RefreshError>
where
    P: Future<Output = Result<ListEndedSessionsResponse, Status>>,
{
    let (mut digests, mut request) = (Vec::new(), ListEndedSessionsRequest::default());
    loop {
        let page = page(request.clone()).await?;
        for digest in &page.session_digests {
            digests.push(SessionDigest::try_from(digest.as_slice())?);
        }
        if page.session_digests.is_empty() {
            for id in &page.session_ids {
                digests.push(SessionDigest::without_user(Uuid::try_parse(id)?));
            }
        }
        if page.next_page_token.is_empty() {
            return Ok(digests);
        }
        request.page_token = page.next_page_token;
    }
}

#[cfg(test)]
mod tests {
    use haven_platform::call::UserId;

    use super::*;

    const USER: UserId = UserId::new(Uuid::from_u128(9));

    fn id(id: u128) -> Uuid {
        Uuid::from_u128(id)
    }

    fn digest(session: u128) -> SessionDigest {
        SessionDigest::of(USER, id(session))
    }

    /// Fetches a list of three pages with the tokens ``, `1` and `2`; the third page is `third`.
    async fn list(
        third: Result<ListEndedSessionsResponse, Status>,
    ) -> Result<Vec<SessionDigest>, RefreshError> {
        let page = |request: ListEndedSessionsRequest| {
            let third = third.clone();
            async move {
                let answer = |sessions: &[u128], next: &str| ListEndedSessionsResponse {
                    session_ids: sessions.iter().map(|session| id(*session).to_string()).collect(),
                    session_digests: sessions
                        .iter()
                        .map(|session| digest(*session).to_bytes().to_vec())
                        .collect(),
                    next_page_token: next.to_owned(),
                };
                match request.page_token.as_str() {
                    "" => Ok(answer(&[1, 2], "1")),
                    // A page that is not the last may be empty.
                    "1" => Ok(answer(&[], "2")),
                    _ => third,
                }
            }
        };
        fetch_all(page).await
    }

    #[tokio::test]
    async fn the_list_has_every_page_or_the_refresh_fails() {
        let last = |session_digest: &[u8]| ListEndedSessionsResponse {
            session_digests: vec![session_digest.to_vec()],
            ..Default::default()
        };
        let listed = list(Ok(last(&digest(3).to_bytes()))).await.unwrap();
        assert_eq!(listed, [digest(1), digest(2), digest(3)]);
        let short = list(Ok(last(&[3; 31]))).await;
        assert!(matches!(short, Err(RefreshError::NotADigest(_))));
        let down = Status::from_error("down".into());
        assert!(matches!(list(Err(down)).await, Err(RefreshError::Refused(_))));
    }

    #[tokio::test]
    async fn an_earlier_identity_lists_ids_alone() {
        let ids = |id: &str| ListEndedSessionsResponse {
            session_ids: vec![id.to_owned()],
            ..Default::default()
        };
        let listed = list(Ok(ids(&id(3).to_string()))).await.unwrap();
        assert_eq!(listed, [digest(1), digest(2), SessionDigest::without_user(id(3))]);
        assert!(matches!(list(Ok(ids("3"))).await, Err(RefreshError::NotAnId(_))));
    }
}
