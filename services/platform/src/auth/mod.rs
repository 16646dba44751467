//! Authentication: users by their access tokens, services by their client certificates.

mod certificate;
mod claims;
mod ended_sessions;
mod issuer;
mod jwks;
mod key_set;
mod session_digest;
mod token;
mod token_problem;
mod token_state;
mod verifier;
mod verifying_key;

pub(crate) use self::{
    certificate::calling_service, token_problem::TokenProblem, token_state::TokenState, verifier::Verified,
};
pub use self::{
    claims::{Claims, ROLE},
    ended_sessions::EndedSessions,
    issuer::TrustedIssuer,
    key_set::KeySet,
    session_digest::SessionDigest,
    verifier::TokenVerifier,
    verifying_key::VerifyingKey,
};
