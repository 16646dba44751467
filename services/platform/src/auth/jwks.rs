//! The parser of the documents in which issuers publish their keys: JSON Web Key Sets (RFC 7517), and what is found in
//! their place.

use serde_json::Value;

use super::{
    jwk::{self, Unused},
    verifying_key::VerifyingKey,
    x509_key,
};

/// The maximum number of keys with one id and one algorithm, each of which is tried on a token that names the id.
const MAX_NAMESAKES: usize = 4;

/// The number of characters of a key id that are repeated in a log.
const SHOWN_CHARACTERS: usize = 64;

/// The keys of a document.
#[derive(Debug)]
pub(super) struct Published {
    /// The keys that verify tokens: at least one.
    pub(super) keys: Vec<VerifyingKey>,
    /// The keys that are left out, as RFC 7517, section 5, asks for.
    pub(super) skipped: Vec<Skipped>,
}

/// A key that is left out.
#[derive(Debug, PartialEq, Eq, thiserror::Error)]
#[error("{name}: {}", reason.why())]
pub(super) struct Skipped {
    /// The key by its id, or its position in the set.
    name: String,
    pub(super) reason: Unused,
}

/// A problem of a document. Its text contains no part of the document except key ids: it may be another file, with a
/// secret in it.
#[derive(Debug, PartialEq, Eq, thiserror::Error)]
pub(super) enum JwksProblem {
    #[error("it is not a JSON Web Key Set (line {line}, column {column})")]
    NotJson { line: usize, column: usize },
    #[error(
        "it is not a JSON Web Key Set: it must be an object with an array `keys`, an array of keys, one key, or an \
         object of X.509 certificates by key id"
    )]
    NotASet,
    #[error("{0} is a private key: only public keys may be here, and this key must be replaced by a new one")]
    Private(String),
    #[error("it has no usable key{}", .0.iter().map(|skipped| format!("; {skipped}")).collect::<String>())]
    NoUsableKey(Vec<Skipped>),
}

/// Parses a document and returns its keys: a set, an array of keys, a single key, or an object of X.509 certificates by
/// key id, as Firebase publishes them. A byte order mark is ignored.
///
/// # Errors
///
/// [`JwksProblem`] when it is something else, has no usable key, or a private one.
pub(super) fn parse(document: &[u8]) -> Result<Published, JwksProblem> {
    let text = document.strip_prefix(b"\xef\xbb\xbf").unwrap_or(document);
    let document: Value = serde_json::from_slice(text).map_err(|error| JwksProblem::NotJson {
        line: error.line(),
        column: error.column(),
    })?;
    let keys = match &document {
        Value::Array(keys) => parse_keys(keys)?,
        Value::Object(members) => match members.get("keys") {
            Some(Value::Array(keys)) => parse_keys(keys)?,
            None if members.contains_key("kty") => parse_keys(std::slice::from_ref(&document))?,
            None if x509_key::is_certificates(members) => {
                let certificates = members.iter();
                certificates
                    .map(|(id, certificate)| {
                        let name = format!("key {}", shown(id));
                        if x509_key::is_private(certificate) {
                            return Err(JwksProblem::Private(name));
                        }
                        let key = x509_key::parse(id, certificate);
                        Ok(key.map_err(|reason| Skipped { name, reason }))
                    })
                    .collect::<Result<_, _>>()?
            }
            _ => return Err(JwksProblem::NotASet),
        },
        _ => return Err(JwksProblem::NotASet),
    };
    let (mut usable, mut skipped): (Vec<VerifyingKey>, _) = (Vec::new(), Vec::new());
    for key in keys {
        match key {
            Ok(key) => {
                let is_namesake =
                    |other: &&VerifyingKey| other.id() == key.id() && other.algorithm() == key.algorithm();
                if !key.id().is_empty() && usable.iter().filter(is_namesake).count() >= MAX_NAMESAKES {
                    let reason = Unused::because("too many keys before it have its `kid` and its algorithm");
                    let name = format!("key {}", shown(key.id()));
                    skipped.push(Skipped { name, reason });
                } else {
                    usable.push(key);
                }
            }
            Err(key) => skipped.push(key),
        }
    }
    match usable.is_empty() {
        true => Err(JwksProblem::NoUsableKey(skipped)),
        false => Ok(Published {
            keys: usable,
            skipped,
        }),
    }
}

fn parse_keys(keys: &[Value]) -> Result<Vec<Result<VerifyingKey, Skipped>>, JwksProblem> {
    let named = keys.iter().enumerate().map(|(index, key)| {
        let name = match jwk::id(key) {
            Some(id) => format!("key {}", shown(id)),
            None => format!("key {}", index + 1),
        };
        match jwk::is_private(key) {
            true => Err(JwksProblem::Private(name)),
            false => Ok(jwk::parse(key).map_err(|reason| Skipped { name, reason })),
        }
    });
    named.collect()
}

/// Returns the start of `id` in quotation marks, with control characters escaped.
fn shown(id: &str) -> String {
    format!("{:?}", id.chars().take(SHOWN_CHARACTERS).collect::<String>())
}

#[cfg(test)]
mod tests;
