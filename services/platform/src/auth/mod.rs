//! Authentication: users by their access tokens, services by their client certificates.

mod certificate;
mod claim_rules;
mod claims;
mod ended_sessions;
mod issuer;
mod issuer_keys;
mod jwk;
mod jwks;
mod key_address;
mod key_file;
mod key_report;
mod key_requests;
mod key_ring;
mod key_set;
mod session_digest;
mod subject;
mod token;
mod token_cache;
mod token_problem;
mod token_state;
mod verifier;
mod verifying_key;
mod x509_key;

pub(crate) use self::{
    certificate::calling_service, token_problem::TokenProblem, token_state::TokenState, verifier::Verified,
};
pub use self::{
    claim_rules::{ClaimPath, ClaimRules, ROLE, RoleRule},
    claims::Claims,
    ended_sessions::EndedSessions,
    issuer::TrustedIssuer,
    key_address::KeyAddress,
    key_file::KeyFile,
    key_set::KeySet,
    session_digest::SessionDigest,
    subject::Subject,
    verifier::TokenVerifier,
    verifying_key::VerifyingKey,
};
