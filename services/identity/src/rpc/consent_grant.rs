//! The conversion of a version of a document, which requests and responses have in common.

use haven_proto::identity::v1::ConsentGrant;

use crate::domain::consent::Consent;

/// Converts `consent` into its message.
pub(super) fn grant_message(consent: &Consent) -> ConsentGrant {
    ConsentGrant {
        document: consent.document().to_owned(),
        document_version: consent.version().to_owned(),
    }
}
