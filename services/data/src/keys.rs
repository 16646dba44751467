//! The keys that verify access tokens, kept as identity publishes them.
//!
//! They are asked for at start, again before they grow old, and at once when a token names one that is not known. What
//! is there stays until something better comes, so an outage of identity stops nobody who has a token.

use std::{future::Future, sync::Arc, time::Duration};

use haven_platform::{
    auth::{KeySet, VerifyingKey},
    client::outgoing,
    deadline::Deadline,
};
use haven_proto::identity::v1::{
    GetSigningKeysRequest, GetSigningKeysResponse, session_service_client::SessionServiceClient,
};
use thiserror::Error;
use tokio::time::{Instant, sleep_until};
use tonic::{Status, transport::Channel};

/// How often identity is asked.
#[derive(Clone, Copy)]
struct Pace {
    /// Keys are asked for again after their own `max_age`, and after this at the latest.
    oldest: Duration,
    /// How long to wait before trying again, when identity did not answer.
    again: Duration,
    /// However many calls want a key, identity is not asked more often than this.
    seldom: Duration,
}

const PACE: Pace = Pace {
    oldest: Duration::from_secs(5 * 60),
    again: Duration::from_secs(5),
    seldom: Duration::from_secs(1),
};

/// How long identity may take to answer.
const TIMEOUT: Duration = Duration::from_secs(2);

/// Keeps `keys` as identity publishes them. Ends only by being dropped.
///
/// `issuer` is whose tokens are accepted: it is said in the log when identity's tokens will not be.
pub async fn keep(keys: Arc<KeySet>, identity: SessionServiceClient<Channel>, issuer: String) {
    let wanted = keys.wanted();
    keep_with(
        &keys,
        PACE,
        || ask(identity.clone(), &issuer),
        || wanted.notified(),
    )
    .await;
}

async fn keep_with<A, W>(keys: &KeySet, pace: Pace, ask: impl Fn() -> A, wanted: impl Fn() -> W)
where
    A: Future<Output = Result<Published, AskError>>,
    W: Future<Output = ()>,
{
    let mut complained = false;
    loop {
        let asked = Instant::now();
        let next = match ask().await {
            Ok(published) => {
                if complained {
                    tracing::info!("identity's signing keys are there again");
                }
                complained = false;
                keys.replace(published.keys);
                published
                    .max_age
                    .unwrap_or(pace.oldest)
                    .clamp(pace.seldom, pace.oldest)
            }
            Err(error) => {
                // Once an outage: every few seconds would bury what else is in the log.
                if !complained {
                    tracing::warn!(%error, "identity's signing keys cannot be fetched; those that are known stay");
                }
                complained = true;
                pace.again
            }
        };
        sleep_until(asked + pace.seldom).await;
        tokio::select! {
            () = sleep_until(asked + next) => {}
            () = wanted() => {}
        }
    }
}

/// What identity publishes.
#[derive(Debug)]
struct Published {
    keys: Vec<VerifyingKey>,
    max_age: Option<Duration>,
}

/// Why there are no new keys.
#[derive(Debug, Error)]
enum AskError {
    #[error("identity answered {:?}", .0.code())]
    Refused(Status),
    #[error("identity published no key that can be used")]
    NoKeys,
}

async fn ask(mut identity: SessionServiceClient<Channel>, issuer: &str) -> Result<Published, AskError> {
    let request = outgoing(GetSigningKeysRequest {}, Deadline::after(TIMEOUT));
    let answer = identity
        .get_signing_keys(request)
        .await
        .map_err(AskError::Refused)?
        .into_inner();
    if answer.issuer != issuer {
        tracing::warn!(
            theirs = answer.issuer,
            ours = issuer,
            "identity signs for another issuer than TOKEN_ISSUER: its tokens are refused"
        );
    }
    published(answer)
}

fn published(answer: GetSigningKeysResponse) -> Result<Published, AskError> {
    let max_age = answer.max_age.and_then(|age| Duration::try_from(age).ok());
    let mut keys = Vec::new();
    for key in answer.keys.iter().filter(|key| key.algorithm == "ES256") {
        match VerifyingKey::from_coordinates(&key.key_id, &key.x, &key.y) {
            Ok(key) => keys.push(key),
            Err(_) => tracing::warn!(
                key_id = key.key_id,
                "identity published a key that cannot be used"
            ),
        }
    }
    match keys.is_empty() {
        true => Err(AskError::NoKeys),
        false => Ok(Published { keys, max_age }),
    }
}

#[cfg(test)]
mod tests {
    use std::sync::atomic::{AtomicUsize, Ordering};

    use haven_proto::identity::v1::SigningKey;
    use tokio::time::timeout;

    use super::*;

    const X: &str = "f83OJ3D2xF1Bg8vub9tLe1gHMzV76e8Tus9uPHvRVEU";
    const Y: &str = "x_FEzRu9m36HLN_tue659LNpXW6pCyStikYjKIWI5a0";

    fn key(key_id: &str, algorithm: &str, x: &str) -> SigningKey {
        SigningKey {
            key_id: key_id.into(),
            algorithm: algorithm.into(),
            x: x.into(),
            y: Y.into(),
        }
    }

    fn answer(keys: Vec<SigningKey>) -> GetSigningKeysResponse {
        GetSigningKeysResponse {
            keys,
            issuer: "haven".into(),
            max_age: None,
        }
    }

    #[test]
    fn what_cannot_be_used_is_left_out() {
        let all = vec![
            key("k1", "ES256", X),
            key("k2", "RS256", X),
            key("k3", "ES256", "!"),
        ];
        let published = published(answer(all)).unwrap();
        assert_eq!(format!("{:?}", published.keys), r#"[VerifyingKey("k1")]"#);
        assert_eq!(published.max_age, None);
    }

    #[test]
    fn an_answer_without_keys_replaces_nothing() {
        assert!(matches!(published(answer(vec![])), Err(AskError::NoKeys)));
    }

    /// A thousandth of the real pace.
    const FAST: Pace = Pace {
        oldest: Duration::from_millis(300),
        again: Duration::from_millis(50),
        seldom: Duration::from_millis(10),
    };

    /// How often identity is asked within `millis`, when it answers or not, and a call wants a key every `wanted`.
    async fn asked(millis: u64, answers: bool, wanted: Duration) -> usize {
        let count = AtomicUsize::new(0);
        let ask = || async {
            count.fetch_add(1, Ordering::Relaxed);
            match answers {
                true => published(answer(vec![key("k1", "ES256", X)])),
                false => Err(AskError::NoKeys),
            }
        };
        let keys = KeySet::empty();
        let kept = keep_with(&keys, FAST, ask, || tokio::time::sleep(wanted));
        timeout(Duration::from_millis(millis), kept).await.unwrap_err();
        count.into_inner()
    }

    // A busy machine asks less often and never more, so what may vary is below.

    #[tokio::test]
    async fn keys_are_asked_for_at_start_and_when_they_are_old() {
        let count = asked(700, true, Duration::MAX).await;
        assert!((2..=3).contains(&count), "{count}");
    }

    #[tokio::test]
    async fn an_outage_is_tried_again_soon() {
        let count = asked(260, false, Duration::MAX).await;
        assert!((3..=6).contains(&count), "{count}");
    }

    #[tokio::test]
    async fn however_many_calls_want_a_key_identity_is_asked_seldom() {
        for answers in [true, false] {
            let count = asked(200, answers, Duration::from_millis(1)).await;
            assert!((5..=21).contains(&count), "{count}");
        }
    }
}
