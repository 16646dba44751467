//! The keys of one issuer, and the choice of those that may have signed a token.

use jsonwebtoken::Algorithm;

use super::{token_problem::TokenProblem, verifying_key::VerifyingKey};

/// The keys of a trusted issuer.
#[derive(Clone, Debug, Default)]
pub(super) struct KeyRing(Vec<VerifyingKey>);

impl KeyRing {
    /// Creates a ring of `keys`.
    pub(super) fn new(keys: Vec<VerifyingKey>) -> Self {
        Self(keys)
    }

    /// Returns the number of keys.
    pub(super) fn len(&self) -> usize {
        self.0.len()
    }

    /// Returns whether there are no keys.
    pub(super) fn is_empty(&self) -> bool {
        self.0.is_empty()
    }

    /// Returns the keys that may have signed a token for `algorithm` with the key id `id`. Keys with one id are several
    /// when their issuer published them so; each verifies tokens of that issuer alone.
    ///
    /// A token without an id is verified only if its issuer has exactly one key for its algorithm, so that no key has to
    /// be guessed (OpenID Connect Core 1.0, section 10.1).
    ///
    /// # Errors
    ///
    /// KEY_UNKNOWN; ALGORITHM when the keys with this id are for other algorithms.
    pub(super) fn candidates(
        &self,
        id: Option<&str>,
        algorithm: Algorithm,
    ) -> Result<Vec<VerifyingKey>, TokenProblem> {
        let of_algorithm = |key: &&VerifyingKey| key.algorithm() == algorithm;
        // A shared secret is its issuer's only key, whatever its tokens call it.
        if let [secret] = &self.0[..]
            && secret.algorithm() == Algorithm::HS256
        {
            return match of_algorithm(&secret) {
                true => Ok(vec![secret.clone()]),
                false => Err(TokenProblem::Algorithm),
            };
        }
        let Some(id) = id else {
            let keys: Vec<_> = self.0.iter().filter(of_algorithm).cloned().collect();
            return match keys.len() {
                1 => Ok(keys),
                _ => Err(TokenProblem::KeyUnknown),
            };
        };
        let mut named = self.0.iter().filter(|key| key.id() == id).peekable();
        if named.peek().is_none() {
            return Err(TokenProblem::KeyUnknown);
        }
        let keys: Vec<_> = named.filter(of_algorithm).cloned().collect();
        match keys.is_empty() {
            true => Err(TokenProblem::Algorithm),
            false => Ok(keys),
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    const P256: [&str; 2] = [
        "f83OJ3D2xF1Bg8vub9tLe1gHMzV76e8Tus9uPHvRVEU",
        "x_FEzRu9m36HLN_tue659LNpXW6pCyStikYjKIWI5a0",
    ];

    fn ec(id: &str) -> VerifyingKey {
        VerifyingKey::from_coordinates(id, P256[0], P256[1]).unwrap()
    }

    fn rsa(id: &str) -> VerifyingKey {
        VerifyingKey::from_rsa(id, &[0xff; 256], &[3]).unwrap()
    }

    fn found(keys: &[VerifyingKey], id: Option<&str>, algorithm: Algorithm) -> Result<usize, TokenProblem> {
        let keys = KeyRing::new(keys.to_vec()).candidates(id, algorithm)?;
        assert!(keys.iter().all(|key| key.algorithm() == algorithm));
        Ok(keys.len())
    }

    #[test]
    fn a_token_names_its_key() {
        let keys = [ec("a"), rsa("b"), ec("c"), rsa("c"), rsa("c"), ec("")];
        assert_eq!(found(&keys, Some("a"), Algorithm::ES256), Ok(1));
        assert_eq!(
            found(&keys, Some("a"), Algorithm::RS256),
            Err(TokenProblem::Algorithm)
        );
        assert_eq!(
            found(&keys, Some("d"), Algorithm::RS256),
            Err(TokenProblem::KeyUnknown)
        );
        // An id that the issuer uses twice: the algorithm decides, and then each key is tried.
        assert_eq!(found(&keys, Some("c"), Algorithm::ES256), Ok(1));
        assert_eq!(found(&keys, Some("c"), Algorithm::RS256), Ok(2));
    }

    #[test]
    fn a_shared_secret_has_any_id() {
        let secret = [VerifyingKey::from_secret(b"secret")];
        for id in [None, Some("a")] {
            assert_eq!(found(&secret, id, Algorithm::HS256), Ok(1));
            let refused = found(&secret, id, Algorithm::ES256);
            assert_eq!(refused, Err(TokenProblem::Algorithm));
        }
    }

    #[test]
    fn a_token_that_names_no_key_needs_an_issuer_with_one_key() {
        let one = [ec(""), rsa("b")];
        assert_eq!(found(&one, None, Algorithm::ES256), Ok(1));
        assert_eq!(found(&one, None, Algorithm::RS256), Ok(1));
        let unknown = Err(TokenProblem::KeyUnknown);
        assert_eq!(found(&one, None, Algorithm::EdDSA), unknown);
        assert_eq!(found(&[ec(""), ec("a")], None, Algorithm::ES256), unknown);
        assert_eq!(found(&[], None, Algorithm::ES256), unknown);
    }
}
