//! Who calls: people by their access tokens, services by their client certificates.

mod certificate;
mod claims;
mod ended;
mod issuer;
mod jwks;
mod key;
mod keys;
mod problem;
mod token;
mod verifier;

pub(crate) use self::{certificate::service_of, problem::Problem};
pub use self::{
    claims::{Claims, ROLE},
    ended::EndedSessions,
    issuer::TrustedIssuer,
    key::VerifyingKey,
    keys::KeySet,
    verifier::TokenVerifier,
};
