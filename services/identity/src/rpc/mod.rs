//! The RPCs: each parses its request into domain types before anything else, calls the store, and converts back.

mod account;
mod hashing_error;
pub mod rate_limit_keys;
mod session;

use std::sync::Arc;

use haven_platform::{auth::EndedSessions, entropy::Entropy, mac::MacKey, page::PageTokens, time::Clock};
use tokio_util::task::TaskTracker;

use self::rate_limit_keys::LimitKeys;
use crate::{
    dispatcher::Dispatcher,
    domain::{consent::RequiredConsents, provider::AuthProvider, rate_limit::RateLimits},
    hashing::Passwords,
    store::{
        account::{
            consent::Consents, delete_account::Erasures, reauthentication::OwnPasswords, sign_up::Accounts,
        },
        audit_log::AuditLog,
        session::Sessions,
    },
    tokens::TokenSigner,
};

/// Both services of identity, as the server runs them.
#[derive(Debug)]
pub struct IdentityRpc {
    /// The accounts.
    pub accounts: Accounts,
    /// Their sessions.
    pub sessions: Sessions,
    /// Their passwords, as their people prove and change them.
    pub own_passwords: OwnPasswords,
    /// What stays of those that were erased.
    pub erasures: Erasures,
    /// What people agree to.
    pub consents: Consents,
    /// What happened to accounts and sessions.
    pub audit: AuditLog,
    /// Tells data of people who came and went.
    pub dispatcher: Dispatcher,
    /// Hashes and checks passwords.
    pub passwords: Passwords,
    /// Who keeps passwords and sessions.
    pub provider: AuthProvider,
    /// How often somebody may sign up.
    pub sign_up_limits: RateLimits,
    /// How often somebody may sign in.
    pub sign_in_limits: RateLimits,
    /// What limits are counted under.
    pub limit_keys: LimitKeys,
    /// What a sign-up has to agree to.
    pub required: RequiredConsents,
    /// Signs access tokens.
    pub signer: Arc<TokenSigner>,
    /// The sessions whose tokens are refused.
    pub ended: Arc<EndedSessions>,
    /// For the keyed hashes of requests.
    pub requests: MacKey,
    /// For the keyed hashes of networks in the audit log.
    pub networks: MacKey,
    /// For refresh tokens: their hashes, and their successors.
    pub refresh: MacKey,
    /// Page tokens.
    pub pages: PageTokens,
    /// Where work goes on whose caller may be gone.
    pub tasks: TaskTracker,
    /// The time of day.
    pub clock: Clock,
    /// For ids and tokens.
    pub entropy: Entropy,
}
