//! The RPCs: each parses its request into domain types before anything else, calls the store, and converts back.

mod account;
mod account_list;
mod account_update;
mod audit;
mod authentication;
mod consent;
mod deletion;
mod hashing;
pub mod origin;
mod parsing;
mod password;
mod password_change;
mod profile;
mod reauthentication;
mod refresh;
mod registration;
mod session;
mod session_end;
mod session_list;
mod sign_in;
mod sign_up;

use std::sync::Arc;

use haven_platform::{auth::EndedSessions, entropy::Entropy, mac::MacKey, page::PageTokens, time::Clock};
use tokio_util::task::TaskTracker;

use self::origin::LimitKeys;
use crate::{
    dispatcher::Dispatcher,
    domain::{consent::RequiredConsents, provider::AuthProvider, rate_limit::RateLimits},
    hashing::Passwords,
    store::{
        account::Accounts, audit::AuditLog, consent::Consents, erasure::Erasures, password::OwnPasswords,
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
