//! The calling service's name in its client certificate, and its scopes.

use rustls::pki_types::CertificateDer;
use x509_parser::prelude::{FromDer, GeneralName, X509Certificate};

use crate::{call::ServiceName, scopes::Scopes, tls::Tls};

/// Returns the first subject alternative name (a DNS name or a URI, RFC 5280 section 4.2.1.6) that the configuration
/// lists, with its scopes; `None` without one.
///
/// TLS has already verified the chain and that the peer holds the key, so the certificate's content can be trusted.
pub(crate) fn calling_service(
    certificates: &[CertificateDer<'_>],
    tls: &Tls,
) -> Option<(ServiceName, Scopes)> {
    let (_, certificate) = X509Certificate::from_der(certificates.first()?).ok()?;
    let names = certificate.subject_alternative_name().ok()??;
    names.value.general_names.iter().find_map(|name| match name {
        GeneralName::DNSName(name) | GeneralName::URI(name) => {
            tls.scopes(name).map(|scopes| (ServiceName::new(name), scopes))
        }
        _ => None,
    })
}
