//! Access tokens: this service signs them, and every service that has its public keys verifies them.
//!
//! Several keys can be configured: the first one signs, all are published. To change the key without an outage, add the
//! new key as the last one; after [`KEYS_MAX_AGE`], move it to the front; remove the old key when its last token has
//! expired.

use std::{fmt, time::Duration};

use haven_platform::auth::{Claims, ROLE, VerifyingKey};
use jsonwebtoken::{
    Algorithm, EncodingKey, Header, encode,
    errors::Error,
    jwk::{AlgorithmParameters, Jwk, ThumbprintHash},
};
use secrecy::{ExposeSecret, SecretString};

use crate::domain::{consent::Consent, session::Session};

/// The time for which services may cache the published keys: the time to wait between publishing a key and signing with
/// it.
pub const KEYS_MAX_AGE: Duration = Duration::from_secs(5 * 60);

/// The configured keys, at least one. The first one signs.
pub struct SigningKeys {
    current: SigningKey,
    others: Vec<PublicKey>,
}

struct SigningKey {
    private: EncodingKey,
    public: PublicKey,
}

/// The public half of a key, with the parameters of a JSON Web Key (RFC 7518, section 6.2).
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct PublicKey {
    /// The parameter `kid`: the key's thumbprint (RFC 7638), so that a key has the same id in every configuration.
    pub id: String,
    /// The parameter `x`, in base64url without padding.
    pub x: String,
    /// The parameter `y`, in base64url without padding.
    pub y: String,
}

/// Signs access tokens for one issuer and one audience.
#[derive(Debug)]
pub struct TokenSigner {
    keys: SigningKeys,
    issuer: String,
    audience: String,
}

/// The error when the configured keys cannot be used.
#[derive(Clone, Copy, Debug, PartialEq, Eq, thiserror::Error)]
pub enum SigningKeysError {
    /// A file has no such key.
    #[error("must be a private key for the curve P-256, in PKCS#8 and PEM")]
    NotAKey,
    /// A key is listed twice.
    #[error("is the same key as an earlier one")]
    Twice,
    /// No key is configured.
    #[error("at least one is required")]
    Empty,
}

// === impl SigningKeys ===

impl SigningKeys {
    /// Parses private keys (PKCS#8, PEM).
    ///
    /// # Errors
    ///
    /// The index of the first of `pems` that cannot be used, and the error.
    pub fn parse(pems: &[SecretString]) -> Result<Self, (usize, SigningKeysError)> {
        let mut keys: Vec<SigningKey> = Vec::new();
        for (position, pem) in pems.iter().enumerate() {
            let key = SigningKey::parse(pem).map_err(|_| (position, SigningKeysError::NotAKey))?;
            if keys.iter().any(|other| other.public.id == key.public.id) {
                return Err((position, SigningKeysError::Twice));
            }
            keys.push(key);
        }
        let mut keys = keys.into_iter();
        let current = keys.next().ok_or((0, SigningKeysError::Empty))?;
        Ok(Self {
            current,
            others: keys.map(|key| key.public).collect(),
        })
    }

    /// The public halves of all keys, the signing key's first.
    pub fn public(&self) -> impl Iterator<Item = &PublicKey> {
        std::iter::once(&self.current.public).chain(&self.others)
    }
}

impl fmt::Debug for SigningKeys {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_list().entries(self.public().map(|key| &key.id)).finish()
    }
}

// === impl SigningKey ===

impl SigningKey {
    fn parse(pem: &SecretString) -> Result<Self, Error> {
        let private = EncodingKey::from_ec_pem(pem.expose_secret().as_bytes())?;
        // This fails for a key on another curve.
        let jwk = Jwk::from_encoding_key(&private, Algorithm::ES256)?;
        let id = jwk.thumbprint(ThumbprintHash::SHA256)?;
        let AlgorithmParameters::EllipticCurve(point) = jwk.algorithm else {
            return Err(jsonwebtoken::errors::ErrorKind::InvalidEcdsaKey.into());
        };
        Ok(Self {
            private,
            public: PublicKey {
                id,
                x: point.x,
                y: point.y,
            },
        })
    }
}

// === impl PublicKey ===

impl PublicKey {
    /// Converts the key into one that verifies tokens.
    ///
    /// # Errors
    ///
    /// When the coordinates are invalid, which those of [`SigningKeys`] are not.
    pub fn verifying(&self) -> Result<VerifyingKey, Error> {
        VerifyingKey::from_coordinates(&self.id, &self.x, &self.y)
    }
}

// === impl TokenSigner ===

impl TokenSigner {
    /// A signer with the first of `keys`.
    #[must_use]
    pub fn new(keys: SigningKeys, issuer: String, audience: String) -> Self {
        Self {
            keys,
            issuer,
            audience,
        }
    }

    /// Signs an access token for `session`, whose person lacks the required consents `missing`.
    ///
    /// # Errors
    ///
    /// When signing fails, which does not happen with parsed keys.
    pub fn sign(&self, session: &Session, missing: &[Consent]) -> Result<SecretString, Error> {
        let key = &self.keys.current;
        let header = Header {
            kid: Some(key.public.id.clone()),
            ..Header::new(Algorithm::ES256)
        };
        let claims = Claims {
            iss: self.issuer.clone(),
            aud: self.audience.clone(),
            sub: *session.user_id.as_uuid(),
            role: ROLE.to_owned(),
            iat: session.issued_at.timestamp(),
            exp: session.expires_at.timestamp(),
            session_id: Some(session.id),
            unmet: missing.iter().map(Consent::to_string).collect(),
        };
        encode(&header, &claims, &key.private).map(Into::into)
    }

    /// The issuer, which tokens carry as `iss`.
    #[must_use]
    pub fn issuer(&self) -> &str {
        &self.issuer
    }

    /// The public halves of all keys, which are published.
    pub fn public_keys(&self) -> impl Iterator<Item = &PublicKey> {
        self.keys.public()
    }
}

#[cfg(test)]
mod tests {
    use std::sync::Arc;

    use chrono::DateTime;
    use haven_platform::{
        auth::{EndedSessions, KeySet, TokenVerifier},
        call::UserId,
        deadline::Deadline,
        reason::Reason,
        time::Clock,
    };
    use rcgen::{KeyPair, PKCS_ECDSA_P256_SHA256, PKCS_ECDSA_P384_SHA384, PKCS_ED25519};
    use uuid::Uuid;

    use super::*;

    fn pem(algorithm: &'static rcgen::SignatureAlgorithm) -> SecretString {
        KeyPair::generate_for(algorithm).unwrap().serialize_pem().into()
    }

    fn signer(pems: &[SecretString]) -> TokenSigner {
        TokenSigner::new(
            SigningKeys::parse(pems).unwrap(),
            "haven".into(),
            "authenticated".into(),
        )
    }

    fn session() -> Session {
        let now = DateTime::from_timestamp(1_800_000_000, 123_456_000).unwrap();
        Session::begin(Uuid::from_u128(2), UserId::new(Uuid::from_u128(1)), now)
    }

    fn verifier(signer: &TokenSigner, seconds: i64) -> TokenVerifier {
        let keys = KeySet::empty();
        keys.replace(signer.public_keys().map(|key| key.verifying().unwrap()));
        let clock = Clock::from_fn(move || DateTime::from_timestamp(seconds, 0).unwrap());
        let ended = EndedSessions::new();
        ended.replace([]);
        let (keys, ended) = (Arc::new(keys), Arc::new(ended));
        TokenVerifier::new("haven".into(), "authenticated", keys, ended, clock)
    }

    fn soon() -> Deadline {
        Deadline::after(Duration::from_secs(5))
    }

    #[tokio::test]
    async fn the_platform_accepts_a_token_for_fifteen_minutes() {
        let (old, new) = (pem(&PKCS_ECDSA_P256_SHA256), pem(&PKCS_ECDSA_P256_SHA256));
        let token = signer(std::slice::from_ref(&old)).sign(&session(), &[]).unwrap();
        let rotated = signer(&[new, old]);
        let user = verifier(&rotated, 1_800_000_899)
            .verify(token.expose_secret(), soon())
            .await
            .unwrap();
        assert_eq!(
            (user.id, user.session_id),
            (session().user_id, Some(session().id))
        );
        let late = verifier(&rotated, 1_800_000_900)
            .verify(token.expose_secret(), soon())
            .await
            .unwrap_err();
        assert_eq!(late.reason(), Reason::TokenExpired);
    }

    #[test]
    fn the_first_key_signs_and_all_are_published() {
        let signer = signer(&[pem(&PKCS_ECDSA_P256_SHA256), pem(&PKCS_ECDSA_P256_SHA256)]);
        let token = signer.sign(&session(), &[]).unwrap();
        let header = jsonwebtoken::decode_header(token.expose_secret()).unwrap();
        let published: Vec<_> = signer.public_keys().collect();
        assert_eq!(
            (published.len(), header.kid.as_ref()),
            (2, Some(&published[0].id))
        );
        assert_eq!(
            format!("{:?}", signer.keys),
            format!("{:?}", [&published[0].id, &published[1].id])
        );
    }

    #[test]
    fn only_distinct_p256_keys_are_accepted() {
        let good = pem(&PKCS_ECDSA_P256_SHA256);
        let wrong = |pems: &[SecretString]| SigningKeys::parse(pems).err();
        for bad in [
            pem(&PKCS_ECDSA_P384_SHA384),
            pem(&PKCS_ED25519),
            "".into(),
            "-----BEGIN X-----".into(),
        ] {
            assert_eq!(wrong(&[good.clone(), bad]), Some((1, SigningKeysError::NotAKey)));
        }
        assert_eq!(wrong(&[good.clone(), good]), Some((1, SigningKeysError::Twice)));
        assert_eq!(wrong(&[]), Some((0, SigningKeysError::Empty)));
    }
}
