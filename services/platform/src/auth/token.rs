//! The parser of access tokens: JSON Web Tokens (RFC 7519) in compact form (RFC 7515, section 7.1).

use base64::{Engine, engine::general_purpose::URL_SAFE_NO_PAD};
use jsonwebtoken::Algorithm;
use serde_json::{Map, Value};

use super::{token_problem::TokenProblem, verifying_key::VerifyingKey};

/// The maximum length of a token: ten times that of Haven's own.
const MAX_BYTES: usize = 8192;

/// A parsed token. Its claims must not be trusted before [`Token::check`].
pub(super) struct Token<'a> {
    pub(super) algorithm: Algorithm,
    pub(super) key_id: Option<String>,
    pub(super) claims: Map<String, Value>,
    /// The signed text: header and claims in their original form.
    message: &'a str,
    signature: &'a str,
}

impl<'a> Token<'a> {
    /// Checks that `text` is not too long for a token.
    pub(super) fn check_length(text: &str) -> Result<(), TokenProblem> {
        match text.len() <= MAX_BYTES {
            true => Ok(()),
            false => Err(TokenProblem::TooLong),
        }
    }

    pub(super) fn parse(text: &'a str) -> Result<Self, TokenProblem> {
        Self::check_length(text)?;
        let (message, signature) = text.rsplit_once('.').ok_or(TokenProblem::Malformed)?;
        let (header, claims) = message.split_once('.').ok_or(TokenProblem::Malformed)?;
        let (header, claims) = (object(header)?, object(claims)?);
        // Extensions that a token declares critical must be understood (RFC 7515, section 4.1.11); none is supported.
        if header.contains_key("crit") {
            return Err(TokenProblem::Malformed);
        }
        let key_id = match header.get("kid") {
            None => None,
            Some(Value::String(id)) => Some(id.clone()).filter(|id| !id.is_empty()),
            Some(_) => return Err(TokenProblem::Malformed),
        };
        let algorithm = match header.get("alg").and_then(Value::as_str) {
            Some("ES256") => Algorithm::ES256,
            Some("ES384") => Algorithm::ES384,
            // The second is the name in RFC 9864.
            Some("EdDSA" | "Ed25519") => Algorithm::EdDSA,
            Some("RS256") => Algorithm::RS256,
            Some("HS256") => Algorithm::HS256,
            // This includes `none`.
            _ => return Err(TokenProblem::Algorithm),
        };
        Ok(Self {
            algorithm,
            key_id,
            claims,
            message,
            signature,
        })
    }

    /// Returns the unverified issuer.
    pub(super) fn issuer(&self) -> Option<&str> {
        self.claims.get("iss").and_then(Value::as_str)
    }

    /// Checks that one of `keys` signed the token with the key's algorithm, and returns that key. A token with another
    /// algorithm in its header is refused.
    pub(super) fn check(&self, keys: Vec<VerifyingKey>) -> Result<VerifyingKey, TokenProblem> {
        let mut keys = keys
            .into_iter()
            .filter(|key| key.algorithm() == self.algorithm)
            .peekable();
        if keys.peek().is_none() {
            return Err(TokenProblem::Algorithm);
        }
        if URL_SAFE_NO_PAD.decode(self.signature).is_err() {
            return Err(TokenProblem::Malformed);
        }
        keys.find(|key| key.verifies(self.message, self.signature))
            .ok_or(TokenProblem::Signature)
    }
}

fn object(part: &str) -> Result<Map<String, Value>, TokenProblem> {
    let bytes = URL_SAFE_NO_PAD
        .decode(part)
        .map_err(|_| TokenProblem::Malformed)?;
    serde_json::from_slice(&bytes).map_err(|_| TokenProblem::Malformed)
}

#[cfg(test)]
mod tests {
    use serde_json::json;

    use super::*;

    fn token(header: &Value, claims: &Value) -> String {
        let part = |value: &Value| URL_SAFE_NO_PAD.encode(value.to_string());
        format!("{}.{}.c2ln", part(header), part(claims))
    }

    fn problem(text: &str) -> Option<TokenProblem> {
        Token::parse(text).err()
    }

    #[test]
    fn a_token_consists_of_two_objects_and_a_signature() {
        let good = token(&json!({"alg": "ES256", "kid": "k1"}), &json!({"iss": "haven"}));
        let parsed = Token::parse(&good).unwrap();
        assert_eq!(
            (parsed.algorithm, parsed.key_id.as_deref(), parsed.issuer()),
            (Algorithm::ES256, Some("k1"), Some("haven"))
        );
        for malformed in [
            String::new(),
            ".".into(),
            "..".into(),
            "a.b.c".into(),
            "x".into(),
            format!("{good}.x"),
            good.replace('.', " ."),
            token(&json!([]), &json!({})),
            token(&json!(["ES256", "k1"]), &json!({})),
            token(&json!({"alg": "ES256"}), &json!("haven")),
            token(&json!({"alg": "ES256", "kid": 1}), &json!({})),
            token(
                &json!({"alg": "ES256", "crit": ["b64"], "b64": false}),
                &json!({}),
            ),
        ] {
            assert_eq!(
                problem(&malformed),
                Some(TokenProblem::Malformed),
                "{malformed:?}"
            );
        }
        assert_eq!(problem(&"x".repeat(MAX_BYTES + 1)), Some(TokenProblem::TooLong));
    }

    #[test]
    fn every_other_algorithm_is_refused() {
        for alg in [
            json!("none"),
            json!("NONE"),
            json!("es256"),
            json!("ES512"),
            json!("ES256K"),
            json!("PS256"),
            json!("HS384"),
            json!(1),
            json!(null),
        ] {
            let text = token(&json!({"alg": alg}), &json!({}));
            assert_eq!(problem(&text), Some(TokenProblem::Algorithm), "{alg}");
        }
        assert_eq!(
            problem(&token(&json!({}), &json!({}))),
            Some(TokenProblem::Algorithm)
        );
    }
}
