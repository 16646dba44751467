//! The metric of the times at which certificates expire.

use rustls::pki_types::CertificateDer;
use x509_parser::prelude::{FromDer, X509Certificate};

/// Records the time at which the first of `certificates` expires, in `haven_certificate_expiry_timestamp_seconds`.
///
/// `file` is the label `certificate`.
pub(crate) fn record(file: &'static str, certificates: &[CertificateDer<'_>]) {
    if let Some(expiry) = earliest(certificates) {
        metrics::gauge!("haven_certificate_expiry_timestamp_seconds", "certificate" => file)
            .set(expiry as f64);
    }
}

/// Returns the earliest end of validity, in seconds of Unix time; `None` when no certificate can be parsed.
fn earliest(certificates: &[CertificateDer<'_>]) -> Option<i64> {
    let ends = certificates.iter().filter_map(|certificate| {
        let (_, parsed) = X509Certificate::from_der(certificate).ok()?;
        Some(parsed.validity().not_after.timestamp())
    });
    ends.min()
}

#[cfg(test)]
mod tests {
    use rcgen::{CertificateParams, KeyPair, date_time_ymd};

    use super::*;

    fn certificate(last_year: i32) -> CertificateDer<'static> {
        let mut params = CertificateParams::new(vec!["haven.test".to_owned()]).unwrap();
        params.not_after = date_time_ymd(last_year, 1, 1);
        let key = KeyPair::generate().unwrap();
        params.self_signed(&key).unwrap().der().clone()
    }

    #[test]
    fn the_first_certificate_to_expire_counts() {
        let [sooner, later] = [certificate(2100), certificate(2101)];
        // 2100-01-01.
        assert_eq!(earliest(&[later, sooner]), Some(4_102_444_800));
        assert_eq!(earliest(&[]), None);
    }
}
