//! The parsing of ImportAccounts, which reports what is wrong with an account.

use std::mem;

use chrono::{DateTime, Utc};
use haven_platform::{
    call::UserId, failure::Violation, request_key::RequestKey, time::stored_time, violations::Violations,
};
use haven_proto::identity::v1::{ImportAccountsRequest, ImportedConsent as ConsentMessage};
use prost_types::Timestamp;
use secrecy::{ExposeSecret, SecretString};

use crate::{
    domain::{
        account::PasswordHash,
        consent::{Consent, MAX_CONSENTS, NewConsent},
        imported_account::{ImportedAccount, ImportedConsent},
    },
    hashing::{Unusable, import_format},
    rpc::{
        account::{AccountRpc, goals},
        email,
    },
};

impl AccountRpc {
    /// Parses one account. The hash is converted into the form that is stored, and must be one that can be checked.
    ///
    /// # Errors
    ///
    /// The user id, empty if it is none, and the violations.
    pub(super) fn parse_import(
        &self,
        mut request: ImportAccountsRequest,
    ) -> Result<ImportedAccount, (String, Vec<Violation>)> {
        let (mut violations, now) = (Violations::new(), self.clock.now());
        let sent_id = request.user_id.clone();
        let key = RequestKey::take(
            "ImportAccounts",
            &mut request,
            |request| &mut request.user_id,
            &self.request_mac,
            &mut Violations::new(),
        );
        let id = violations.uuid("user_id", &sent_id);
        let exported = SecretString::from(mem::take(&mut request.password_hash));
        let email = email::parse(&request.email, &mut violations);
        let email_verified_at = request
            .email_verified_time
            .and_then(|time| past_time("email_verified_time", Some(&time), now, &mut violations));
        let password_hash = self.parse_hash(&exported, &mut violations);
        let goals = goals::parse("goals", &request.goals, &mut violations);
        let consents = self.parse_imported_consents(&request.consents, now, &mut violations);
        let broken = violations.into_list();
        match (email, password_hash, goals, broken.is_empty()) {
            (Some(email), Some(password_hash), Some(goals), true) => Ok(ImportedAccount {
                id: UserId::new(id),
                email,
                email_verified_at,
                password_hash,
                goals,
                consents,
                macs: key.payload_macs,
                at: now,
            }),
            _ if id.is_nil() => Err((String::new(), broken)),
            _ => Err((id.to_string(), broken)),
        }
    }

    /// Parses the hash that the other system exported. Without one, no password matches.
    fn parse_hash(&self, exported: &SecretString, violations: &mut Violations) -> Option<PasswordHash> {
        const FIELD: &str = "password_hash";
        let exported = exported.expose_secret();
        if exported.is_empty() {
            let unmatched = self.passwords.unmatched();
            return unmatched
                .map_err(|error| violations.add(Violation::new(FIELD, "HASH_UNSUPPORTED", error.to_string())))
                .ok();
        }
        let refuse = |name: &'static str, rule: String| Violation::new(FIELD, name, rule);
        let checked = match import_format::convert(exported) {
            Err(error) => Err(refuse("HASH_UNSUPPORTED", error.to_string())),
            Ok(stored) => match self.passwords.hasher().check_usable(&stored) {
                Ok(()) => Ok(stored),
                Err(Unusable::Bounds) => Err(refuse(
                    "HASH_TOO_COSTLY",
                    "password_hash must need at most IMPORTED_HASH_MAX_MIB and a third of a second to check"
                        .into(),
                )),
                Err(Unusable::Pepper) => Err(refuse(
                    "HASH_SECRET_UNKNOWN",
                    "the secret that password_hash names must be in IMPORTED_HASH_SECRETS, or be a pepper"
                        .into(),
                )),
                Err(Unusable::Syntax | Unusable::Algorithm) => Err(refuse(
                    "HASH_UNSUPPORTED",
                    "password_hash must be complete, and of a supported version of its algorithm".into(),
                )),
            },
        };
        checked.map_err(|violation| violations.add(violation)).ok()
    }

    fn parse_imported_consents(
        &self,
        sent: &[ConsentMessage],
        now: DateTime<Utc>,
        violations: &mut Violations,
    ) -> Vec<ImportedConsent> {
        let mut consents: Vec<ImportedConsent> = Vec::new();
        if sent.len() > MAX_CONSENTS {
            let rule = "consents must have at most 20 items";
            violations.add(Violation::new("consents", "TOO_MANY", rule));
            return consents;
        }
        for (position, message) in sent.iter().enumerate() {
            let path = format!("consents[{position}]");
            let time = past_time(
                format!("{path}.grant_time"),
                message.grant_time.as_ref(),
                now,
                violations,
            );
            let Some(grant) = &message.consent else {
                violations.required(format!("{path}.consent"));
                continue;
            };
            let consent = match Consent::parse(&grant.document, &grant.document_version) {
                Ok(consent) => consent,
                Err(broken) => {
                    violations.extend(broken.into_iter().map(|rule| {
                        let field = format!("{path}.consent.{}", rule.field());
                        Violation::new(field, rule.name(), rule.description())
                    }));
                    continue;
                }
            };
            let is_listed = |other: &ImportedConsent| other.new.consent.document() == consent.document();
            if consents.iter().any(is_listed) {
                violations.add(Violation::new(
                    format!("{path}.consent.document"),
                    "DUPLICATE",
                    "A document must be listed in one version only",
                ));
            } else if let Some(granted_at) = time {
                let id = self.entropy.uuid_v7(&self.clock);
                let new = NewConsent { id, consent };
                consents.push(ImportedConsent { new, granted_at });
            }
        }
        consents
    }
}

/// Parses a required time that must not be in the future.
fn past_time(
    field: impl Into<String>,
    sent: Option<&Timestamp>,
    now: DateTime<Utc>,
    violations: &mut Violations,
) -> Option<DateTime<Utc>> {
    let field = field.into();
    let Some(sent) = sent else {
        violations.required(field);
        return None;
    };
    match stored_time(sent) {
        Some(time) if time <= now => Some(time),
        Some(_) => {
            let rule = format!("{field} must not be in the future");
            violations.add(Violation::new(field, "IN_FUTURE", rule));
            None
        }
        None => {
            let rule = format!("{field} must be a time in the years 1 to 9999");
            violations.add(Violation::new(field, "OUT_OF_RANGE", rule));
            None
        }
    }
}
