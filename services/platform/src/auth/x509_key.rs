//! The parser of X.509 certificates in place of JSON Web Keys: the form in which Firebase publishes its keys.

use rustls::pki_types::{CertificateDer, pem::PemObject};
use serde_json::{Map, Value};
use x509_parser::{
    prelude::{FromDer, X509Certificate},
    public_key::PublicKey,
};

use super::{jwk::Unused, verifying_key::VerifyingKey};

const NOT_A_CERTIFICATE: &str = "it is not an X.509 certificate (PEM)";

/// Returns whether `members` are certificates by key id: all are texts, and at least one is a PEM section.
pub(super) fn is_certificates(members: &Map<String, Value>) -> bool {
    members.values().all(Value::is_string)
        && members
            .values()
            .filter_map(Value::as_str)
            .any(|text| text.trim_start().starts_with("-----BEGIN "))
}

/// Returns whether `section` is a private key in PEM form, of any kind.
pub(super) fn is_private(section: &Value) -> bool {
    section.as_str().is_some_and(|text| text.contains("PRIVATE KEY"))
}

/// Returns the key of a certificate, for RS256. Who issued the certificate and how long it is valid does not matter: the
/// document vouches for the key, as long as it contains it.
///
/// # Errors
///
/// [`Unused`] when it is not a certificate, or its key is not for RS256.
pub(super) fn parse(id: &str, certificate: &Value) -> Result<VerifyingKey, Unused> {
    let der = certificate
        .as_str()
        .and_then(|pem| CertificateDer::from_pem_slice(pem.as_bytes()).ok())
        .ok_or_else(|| Unused::because(NOT_A_CERTIFICATE))?;
    let (_, parsed) = X509Certificate::from_der(&der).map_err(|_| Unused::because(NOT_A_CERTIFICATE))?;
    match parsed.public_key().parsed() {
        Ok(PublicKey::RSA(key)) => {
            VerifyingKey::from_rsa(id, key.modulus, key.exponent).map_err(Unused::because)
        }
        _ => Err(Unused::because("its certificate has no RSA key")),
    }
}
