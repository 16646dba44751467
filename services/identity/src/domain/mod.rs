//! The rules about accounts, sessions, passwords and consents, independent of gRPC and of SQL.
//!
//! Requests are parsed into the types of this module before the store is called. The module names neither tonic nor sqlx
//! nor the generated messages, which a test checks, and imports nothing from [`crate::store`] or [`crate::rpc`].
//!
//! Some decisions depend on rows that other transactions change at the same time. A decision about a row that was read
//! earlier could be outdated when it is written, so these are made in SQL, in the statement or the transaction that also
//! writes the result:
//!
//! - **Version conflicts.** UpdateAccount compares the expected version in the `UPDATE` that changes the row. Only one
//!   of several updates based on one version is made. This module decides whether a [step](progress::Step) is the next
//!   one, for the version that was read; the decision is written to that version only.
//! - **Rate limits.** `identity.admit_call` checks and counts all limits of a call in one statement, so that simultaneous
//!   calls cannot all pass on the same remaining quota. A call that exceeds one limit does not count towards the
//!   others. The [limits](rate_limit) themselves are defined here.
//! - **Refresh-token rotation.** `identity.refresh_session_1` locks account, session and token, and then decides by the locked
//!   rows. When several calls have one token, one of them rotates the token, and the others get the same successor. A call that
//!   gets there after its deadline changes nothing, so that it is not taken for a reuse of the token. The
//!   [lifetimes and the grace period](refresh_token) are defined here.
//! - **Erasure.** `identity.erase_account` deletes the account's rows, writes the erasure and queues the message to
//!   data in one transaction: all of it or nothing.
//! - **Request ids and email addresses.** Unique constraints decide which of several simultaneous requests comes first.
//! - **Password changes.** SignIn, ChangePassword and DeleteAccount compare the password's version in the statement or
//!   under the lock that writes: hashing takes too long to hold a row lock during it.
//! - **Recovery tokens.** `identity.reset_password` and its siblings lock the account, spend the token and do what it is for. Triggers
//!   of `identity.users` end tokens when the password or the address changes, and keep an address for the account that may get
//!   it back.
//! - **Audit log.** `identity.append_audit_event` numbers events and computes their digests under a lock per person;
//!   [`audit_chain`] computes the same digests to verify them.

pub mod account;
pub mod audit;
pub mod audit_chain;
pub mod consent;
pub mod consent_versions;
pub mod device_token;
pub mod email;
pub mod erasure;
pub mod export;
pub mod goals;
pub mod imported_account;
pub mod outbox;
pub mod password;
pub mod progress;
pub mod provider;
pub mod quota;
pub mod rate_limit;
pub mod reconciliation;
pub mod recovery;
pub mod refresh_token;
pub mod session;
