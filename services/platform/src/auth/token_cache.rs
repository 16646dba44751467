//! The known tokens: those with a signature that was verified before, so that it is verified once and not on every call.

use std::{fmt, sync::Arc};

use quick_cache::{OptionsBuilder, Weighter, sync::Cache};
use sha2::{Digest, Sha256};
use uuid::Uuid;

use super::{claim_rules::ClaimRules, claims::Validity, verifying_key::VerifyingKey};

/// The memory of the known tokens, in bytes: some ten thousand of Haven's own.
const MAX_BYTES: u64 = 4 * 1024 * 1024;

/// The expected number of known tokens, from which the cache derives its number of parts.
const EXPECTED: usize = 10_000;

/// The memory that a known token takes beside what it holds: its digest, its place in the table, and its allocation.
const OVERHEAD: usize = 128;

/// The SHA-256 of a whole token, signature included.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
pub(super) struct TokenDigest([u8; 32]);

/// What was verified about a token. It says that `key` made the signature, and what the claims state under `rules`. It does
/// not say that the token is good now: the verifier asks that on every call.
#[derive(Debug)]
pub(super) struct KnownToken {
    /// The issuer of the token, and the rules that the claims were read with.
    pub(super) issuer: Arc<str>,
    pub(super) rules: Arc<ClaimRules>,
    /// The key id that the token names, and the key that made its signature.
    pub(super) key_id: Option<String>,
    pub(super) key: VerifyingKey,
    pub(super) validity: Validity,
    pub(super) user: Uuid,
    /// The session of one of Haven's own tokens.
    pub(super) session: Option<Uuid>,
    /// The consents that the user lacks.
    pub(super) unmet: Vec<String>,
}

/// The known tokens by digest, within [`MAX_BYTES`]. Those that were not used for the longest time make room for others.
pub(super) struct TokenCache(Cache<TokenDigest, Arc<KnownToken>, Size>);

/// The size of a known token in bytes.
#[derive(Clone)]
struct Size;

impl TokenDigest {
    pub(super) fn of(token: &str) -> Self {
        Self(Sha256::digest(token).into())
    }
}

impl KnownToken {
    fn bytes(&self) -> usize {
        let unmet = self.unmet.iter().map(|text| size_of::<String>() + text.len());
        size_of::<Self>() + self.key_id.as_ref().map_or(0, String::len) + unmet.sum::<usize>()
    }
}

impl TokenCache {
    /// Creates an empty cache. It allocates nothing until there are tokens.
    pub(super) fn new() -> Self {
        Self::with_capacity(MAX_BYTES, EXPECTED)
    }

    fn with_capacity(bytes: u64, expected: usize) -> Self {
        let cache = match OptionsBuilder::new()
            .weight_capacity(bytes)
            .estimated_items_capacity(expected)
            .build()
        {
            Ok(options) => Cache::with_options(options, Size, Default::default(), Default::default()),
            // It is one only when one of the two is not set.
            Err(_) => Cache::with_weighter(expected, bytes, Size),
        };
        Self(cache)
    }

    /// Returns what was verified about the token with this digest.
    pub(super) fn get(&self, digest: &TokenDigest) -> Option<Arc<KnownToken>> {
        self.0.get(digest)
    }

    /// Adds a token with a signature that was verified.
    pub(super) fn insert(&self, digest: TokenDigest, token: Arc<KnownToken>) {
        self.0.insert(digest, token);
    }

    /// Removes a token that is no longer good.
    pub(super) fn remove(&self, digest: &TokenDigest) {
        self.0.remove(digest);
    }

    #[cfg(test)]
    pub(super) fn len(&self) -> usize {
        self.0.len()
    }
}

impl Weighter<TokenDigest, Arc<KnownToken>> for Size {
    fn weight(&self, _: &TokenDigest, token: &Arc<KnownToken>) -> u64 {
        (token.bytes() + OVERHEAD) as u64
    }
}

/// Shows the number of tokens alone.
impl fmt::Debug for TokenCache {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("TokenCache")
            .field("tokens", &self.0.len())
            .finish_non_exhaustive()
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn token(unmet: usize) -> Arc<KnownToken> {
        Arc::new(KnownToken {
            issuer: "haven".into(),
            rules: Arc::new(ClaimRules::standard("us")),
            key_id: Some("k1".to_owned()),
            key: VerifyingKey::from_secret(b"secret"),
            validity: Validity::until(1e9),
            user: Uuid::from_u128(1),
            session: None,
            unmet: vec!["x".repeat(unmet)],
        })
    }

    #[test]
    fn the_memory_is_bounded() {
        for (unmet, most) in [(0, 420), (8192, 12)] {
            let cache = TokenCache::with_capacity(100_000, 400);
            for number in 0..10_000 {
                cache.insert(TokenDigest::of(&number.to_string()), token(unmet));
            }
            assert!(cache.0.weight() <= 100_000);
            assert!((1..=most).contains(&cache.len()), "{}", cache.len());
        }
        // The bound that services have: as many tokens of Haven as the documentation says.
        let (each, all) = (token(10).bytes() + OVERHEAD, 10_000);
        assert!(each * all <= MAX_BYTES as usize, "{each} bytes a token");
    }

    #[test]
    fn debug_shows_no_token() {
        let cache = TokenCache::new();
        cache.insert(TokenDigest::of("canary"), token(1));
        assert_eq!(format!("{cache:?}"), "TokenCache { tokens: 1, .. }");
    }
}
