//! Recovery tokens: a product mails them to people, and each proves that its person reads the mailbox.
//!
//! A token is a keyed hash of the request that it was created by, so that a retry of the request is answered with the same
//! token although only another keyed hash of the token is stored. The token of a password reset is a hash of the address
//! as well, and an address without an account has a pseudonym instead of a person, so that it has one, too. Without the key, a token is 256 bits that
//! cannot be guessed.

use std::fmt;

use base64::{Engine, engine::general_purpose::URL_SAFE_NO_PAD};
use chrono::{DateTime, TimeDelta, Utc};
use haven_platform::{
    call::UserId,
    mac::{MacKey, StoredMac},
    request_key::RequestKey,
};
use secrecy::{ExposeSecret, SecretBox, SecretString};
use uuid::Uuid;
use zeroize::Zeroizing;

use super::{
    account::PasswordHash, audit::Origin, device_token::KeptDevice, email::EmailAddress,
    rate_limit::FailureKeys,
};

/// The maximum number of changes of an account's address that can be undone. Each reserves an address.
pub const MAX_OPEN_UNDOS: i32 = 5;

/// The time for which a request for an address without an account is remembered: as long as other requests are.
pub const UNKNOWN_RESET_RETENTION: TimeDelta = TimeDelta::days(7);

/// The prefix of every token, by which secret scanners recognize a leaked one.
const PREFIX: &str = "hvt_";

/// The number of characters after the prefix: 32 bytes in base64url.
const LENGTH: usize = 43;

/// The kind of a token: what it can be used for.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum RecoveryKind {
    /// Sets a new password.
    PasswordReset,
    /// Verifies the account's address.
    EmailVerification,
    /// Gives the account a new address.
    EmailChange,
    /// Gives the account an old address back.
    EmailUndo,
}

/// A recovery token. `Debug` does not show it.
pub struct RecoveryToken(SecretBox<[u8; 32]>);

/// The lifetimes of tokens.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Lifetimes {
    /// The lifetime of a token for a password reset.
    pub password_reset: TimeDelta,
    /// The lifetime of a token for the verification of an address.
    pub email_verification: TimeDelta,
    /// The lifetime of a token for a change of address.
    pub email_change: TimeDelta,
    /// The time for which a change of address can be undone, from the last moment at which it could be confirmed.
    pub email_undo: TimeDelta,
}

/// A token to store.
#[derive(Clone, Copy, Debug)]
pub struct NewRecoveryToken {
    /// The id of the stored row.
    pub id: Uuid,
    /// The token's keyed hash, with the id of its key.
    pub hash: StoredMac,
    /// The time for which the token is accepted, by the clock of the database.
    pub lifetime: TimeDelta,
}

/// A request for tokens of a person's account.
#[derive(Debug)]
pub struct TokenRequest<'a> {
    /// The id of the account's person.
    pub user_id: UserId,
    /// The request's key, by which a retry is recognized.
    pub request: &'a RequestKey,
    /// The origin of the call, for the audit log.
    pub origin: &'a Origin,
    /// The time of the request.
    pub at: DateTime<Utc>,
}

/// A change of address to store.
#[derive(Debug)]
pub struct NewEmailChange<'a> {
    /// The new address.
    pub email: &'a EmailAddress,
    /// The token that makes the change.
    pub change: NewRecoveryToken,
    /// The token that takes it back.
    pub undo: NewRecoveryToken,
}

/// The use of a token.
#[derive(Debug)]
pub struct TokenUse<'a> {
    /// The id of the token's person.
    pub user_id: UserId,
    /// The id of the stored row.
    pub token_id: Uuid,
    /// The request's key, by which a retry is recognized.
    pub request: &'a RequestKey,
    /// The origin of the call, for the audit log.
    pub origin: &'a Origin,
    /// The time of the use.
    pub at: DateTime<Utc>,
}

/// A password to set (ResetPassword).
#[derive(Debug)]
pub struct PasswordReset<'a> {
    /// The use of the token.
    pub token: TokenUse<'a>,
    /// The new password's hash.
    pub hash: &'a PasswordHash,
    /// The keys under which the caller's wrong passwords at sign-in are counted. The count is reset.
    pub failures: &'a FailureKeys,
    /// The new device token of the caller.
    pub device: KeptDevice,
}

/// A change of address to take back (UndoEmailChange).
#[derive(Debug)]
pub struct EmailUndo<'a> {
    /// The use of the token.
    pub token: TokenUse<'a>,
    /// The hash that replaces the password's: no password matches it.
    pub hash: &'a PasswordHash,
    /// The token with which the owner sets a new password.
    pub reset: NewRecoveryToken,
}

// === impl RecoveryKind ===

impl RecoveryKind {
    /// All kinds.
    pub const ALL: [Self; 4] = [
        Self::PasswordReset,
        Self::EmailVerification,
        Self::EmailChange,
        Self::EmailUndo,
    ];

    /// The name under which the kind is stored, and the label of its metric.
    #[must_use]
    pub fn name(self) -> &'static str {
        match self {
            Self::PasswordReset => "password_reset",
            Self::EmailVerification => "email_verification",
            Self::EmailChange => "email_change",
            Self::EmailUndo => "email_undo",
        }
    }
}

// === impl RecoveryToken ===

impl RecoveryToken {
    /// The token of a password reset that the request `request_id` asks for, for the account of `person` or an address without
    /// an account.
    ///
    /// A late copy of the request makes another token when the address has another account by then.
    #[must_use]
    pub fn of_address(key: &MacKey, person: Option<UserId>, email: &EmailAddress, request_id: Uuid) -> Self {
        let kind = RecoveryKind::PasswordReset.name().as_bytes();
        let address = email.canonical().as_bytes();
        // Computed in both cases, which take the same time.
        let pseudonym = key.mac(&[b"address without an account", address]);
        let person = person
            .as_ref()
            .map_or(&pseudonym[..], |person| person.as_uuid().as_bytes());
        Self::new(key.mac(&[kind, person, address, request_id.as_bytes()]))
    }

    /// The token of a password reset that the undo of a change of address answers.
    #[must_use]
    pub fn of_undo(key: &MacKey, person: UserId, request_id: Uuid) -> Self {
        let person = person.as_uuid();
        Self::new(key.mac(&[
            b"password_reset of an undo",
            person.as_bytes(),
            request_id.as_bytes(),
        ]))
    }

    /// The token of another kind that the request `request_id` asks for.
    #[must_use]
    pub fn of_person(key: &MacKey, kind: RecoveryKind, user_id: UserId, request_id: Uuid) -> Self {
        let person = user_id.as_uuid().as_bytes();
        Self::new(key.mac(&[kind.name().as_bytes(), person, request_id.as_bytes()]))
    }

    /// The keyed hash to store. The token cannot be computed from it.
    #[must_use]
    pub fn hash(&self, key: &MacKey) -> [u8; 32] {
        key.mac(&[b"hash", self.expose()])
    }

    /// Parses a token as [`RecoveryToken::text`] formats it. `None` when `sent` has another form.
    #[must_use]
    pub fn parse(sent: &str) -> Option<Self> {
        let text = sent.strip_prefix(PREFIX).filter(|text| text.len() == LENGTH)?;
        let token = Zeroizing::new(URL_SAFE_NO_PAD.decode(text).ok()?);
        Some(Self::new(token.as_slice().try_into().ok()?))
    }

    /// The token as text for the person: a prefix, then base64url without padding (RFC 4648, section 5).
    #[must_use]
    pub fn text(&self) -> SecretString {
        let token = Zeroizing::new(URL_SAFE_NO_PAD.encode(self.expose()));
        format!("{PREFIX}{}", *token).into()
    }

    /// The bytes of the token.
    pub(crate) fn expose(&self) -> &[u8; 32] {
        self.0.expose_secret()
    }

    fn new(bytes: [u8; 32]) -> Self {
        Self(SecretBox::new(Box::new(bytes)))
    }
}

impl fmt::Debug for RecoveryToken {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("RecoveryToken([redacted])")
    }
}

#[cfg(test)]
mod tests {
    use haven_platform::mac::SecretKey;

    use super::*;

    fn key() -> MacKey {
        MacKey::derive(&SecretKey::new(Box::new([7; 32])), "identity.recovery_tokens")
    }

    fn text(token: &RecoveryToken) -> String {
        token.text().expose_secret().to_owned()
    }

    #[test]
    fn a_token_depends_on_its_kind_its_person_and_its_request() {
        let person = |id| UserId::new(Uuid::from_u128(id));
        let token = |kind, of, request| {
            let token = RecoveryToken::of_person(&key(), kind, person(of), Uuid::from_u128(request));
            text(&token)
        };
        let mut tokens = vec![
            token(RecoveryKind::EmailChange, 1, 1),
            token(RecoveryKind::EmailUndo, 1, 1),
            token(RecoveryKind::EmailVerification, 1, 1),
            token(RecoveryKind::EmailChange, 2, 1),
            token(RecoveryKind::EmailChange, 1, 2),
        ];
        assert_eq!(tokens[0], token(RecoveryKind::EmailChange, 1, 1));
        tokens.sort_unstable();
        tokens.dedup();
        assert_eq!(tokens.len(), 5);
    }

    #[test]
    fn two_spellings_of_an_address_have_one_token() {
        let token = |email, request| {
            let email = EmailAddress::parse(email).unwrap();
            let request = Uuid::from_u128(request);
            text(&RecoveryToken::of_address(&key(), None, &email, request))
        };
        assert_eq!(token("Ada@Example.org", 1), token("ada@example.org", 1));
        assert_ne!(token("ada@example.org", 1), token("ada@example.org", 2));
        assert_ne!(token("ada@example.org", 1), token("eve@example.org", 1));
    }

    #[test]
    fn a_token_of_an_address_depends_on_the_account_that_has_it() {
        let email = EmailAddress::parse("ada@example.org").unwrap();
        let request = Uuid::from_u128(1);
        let token = |person: Option<u128>| {
            let person = person.map(|id| UserId::new(Uuid::from_u128(id)));
            text(&RecoveryToken::of_address(&key(), person, &email, request))
        };
        assert_eq!(token(Some(1)), token(Some(1)));
        assert_ne!(token(Some(1)), token(Some(2)));
        assert_ne!(token(Some(1)), token(None));
    }

    #[test]
    fn only_well_formed_tokens_are_accepted() {
        let email = EmailAddress::parse("ada@example.org").unwrap();
        let token = RecoveryToken::of_address(&key(), None, &email, Uuid::from_u128(1));
        let good = text(&token);
        assert!(good.starts_with("hvt_") && good.len() == 47, "{good}");
        let parsed = RecoveryToken::parse(&good).unwrap();
        assert_eq!(parsed.hash(&key()), token.hash(&key()));
        assert_ne!(&token.hash(&key()), token.expose());
        assert_eq!(format!("{token:?}"), "RecoveryToken([redacted])");
        for bad in [
            "",
            "hvt_",
            &good[4..],
            &format!("{good}A"),
            &format!("hrt_{}", &good[4..]),
        ] {
            assert!(RecoveryToken::parse(bad).is_none(), "{bad}");
        }
    }
}
