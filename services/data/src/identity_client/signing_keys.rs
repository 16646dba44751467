//! The keys that verify access tokens, kept as identity publishes them.
//!
//! They are asked for at start, again before they grow old, and at once when a token names one that is not known.

use std::{sync::Arc, time::Duration};

use haven_platform::{
    auth::{KeySet, VerifyingKey},
    client::outgoing,
    deadline::Deadline,
};
use haven_proto::identity::v1::{
    GetSigningKeysRequest, GetSigningKeysResponse, session_service_client::SessionServiceClient,
};
use thiserror::Error;
use tonic::{Status, transport::Channel};

use super::{Pace, follow};

/// Keys are asked for again after their own `max_age`, and after this at the latest.
const PACE: Pace = Pace {
    fresh: Duration::from_secs(5 * 60),
    again: Duration::from_secs(5),
    first: Duration::from_millis(200),
    seldom: Duration::from_secs(1),
};

/// How long identity may take to answer.
const TIMEOUT: Duration = Duration::from_secs(2);

/// Keeps `keys` as identity publishes them. Ends only by being dropped.
///
/// `issuer` is whose tokens are accepted: it is said in the log when identity's tokens will not be.
pub async fn keep(keys: Arc<KeySet>, identity: SessionServiceClient<Channel>, issuer: String) {
    let refresh = async || {
        let published = ask(identity.clone(), &issuer).await?;
        keys.replace(published.keys);
        Ok::<_, AskError>(published.max_age)
    };
    follow("signing keys", PACE, refresh, || keys.next_request()).await;
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
    use haven_proto::identity::v1::SigningKey;

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
}
