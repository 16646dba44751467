//! Who calls: people by their access tokens, services by their client certificates.

mod certificate;
mod keys;
mod token;

pub(crate) use self::certificate::service_of;
pub use self::{
    keys::{KeySet, KeysWanted, VerifyingKey},
    token::{Claims, ROLE, TokenVerifier},
};
