//! The cache of the keys that identity signs access tokens with.
//!
//! The keys are fetched at start, before they are older than their `max_age`, and at once when a token names an unknown
//! key.

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

use super::{RefreshIntervals, refresh_periodically};

/// The intervals between requests for the keys. The keys' own `max_age` applies when it is shorter.
const INTERVALS: RefreshIntervals = RefreshIntervals {
    after_success: Duration::from_secs(5 * 60),
    after_failure: Duration::from_secs(5),
    before_first_answer: Duration::from_millis(200),
    min: Duration::from_secs(1),
};

/// The time limit of one request.
const TIMEOUT: Duration = Duration::from_secs(2);

/// Refreshes `keys` from identity periodically. Never returns.
///
/// Only tokens of `issuer` are accepted. When identity signs for another issuer, its tokens will be rejected, which is
/// logged.
pub async fn run(keys: Arc<KeySet>, identity: SessionServiceClient<Channel>, issuer: String) {
    let refresh = async || {
        let published = fetch(identity.clone(), &issuer).await?;
        keys.replace(published.keys);
        Ok::<_, RefreshError>(published.max_age)
    };
    refresh_periodically("signing keys", INTERVALS, refresh, || keys.next_request()).await;
}

/// An answer of identity.
#[derive(Debug)]
struct Published {
    keys: Vec<VerifyingKey>,
    max_age: Option<Duration>,
}

/// The reason why a refresh failed.
#[derive(Debug, Error)]
enum RefreshError {
    #[error("identity answered {:?}", .0.code())]
    Refused(Status),
    #[error("identity published no usable key")]
    NoKeys,
}

/// Requests the signing keys from identity. Logs a warning when it signs for another issuer than `issuer`.
async fn fetch(mut identity: SessionServiceClient<Channel>, issuer: &str) -> Result<Published, RefreshError> {
    let request = outgoing(GetSigningKeysRequest {}, Deadline::after(TIMEOUT));
    let answer = identity
        .get_signing_keys(request)
        .await
        .map_err(RefreshError::Refused)?
        .into_inner();
    if answer.issuer != issuer {
        tracing::warn!(
            theirs = answer.issuer,
            ours = issuer,
            "identity signs for another issuer than TOKEN_ISSUER: its tokens are rejected"
        );
    }
    published(answer)
}

/// Converts an answer. Keys that cannot be used are skipped and logged.
fn published(answer: GetSigningKeysResponse) -> Result<Published, RefreshError> {
    let max_age = answer.max_age.and_then(|age| Duration::try_from(age).ok());
    let mut keys = Vec::new();
    for key in answer.keys.iter().filter(|key| key.algorithm == "ES256") {
        match VerifyingKey::from_coordinates(&key.key_id, &key.x, &key.y) {
            Ok(key) => keys.push(key),
            Err(_) => tracing::warn!(key_id = key.key_id, "identity published an unusable key"),
        }
    }
    match keys.is_empty() {
        true => Err(RefreshError::NoKeys),
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
    fn unusable_keys_are_skipped() {
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
    fn an_answer_without_usable_keys_is_an_error() {
        assert!(matches!(published(answer(vec![])), Err(RefreshError::NoKeys)));
    }
}
