//! CreateEmailVerification: creates a token with which a person verifies the address of their account.

use haven_platform::{
    call::{Call, UserId},
    failure::Failure,
    handler::Handler,
    mac::MacKey,
    request_key::RequestKey,
    time::timestamp,
    violations::Violations,
};
use haven_proto::identity::v1::{CreateEmailVerificationRequest, CreateEmailVerificationResponse};

use super::{RecoveryRpc, count};
use crate::{
    domain::{
        email::EmailAddress,
        recovery::{RecoveryKind, RecoveryToken, TokenRequest},
    },
    store::recovery::{CreateError, Verification},
};

/// The number of times that a call is tried when another call with the same request id comes first.
const TRIES: usize = 3;

impl Handler<CreateEmailVerificationRequest> for RecoveryRpc {
    type Answer = CreateEmailVerificationResponse;

    async fn handle(
        &self,
        call: &Call,
        mut message: CreateEmailVerificationRequest,
    ) -> Result<CreateEmailVerificationResponse, Failure> {
        self.check_provider()?;
        let mut violations = Violations::new();
        let request = RequestKey::take(
            "CreateEmailVerification",
            &mut message,
            |message| &mut message.request_id,
            &self.request_mac,
            &mut violations,
        );
        let user_id = UserId::new(violations.uuid("user_id", &message.user_id));
        violations.check()?;
        let origin = self.audit_origins.of(call);
        let derive = |key: &MacKey| {
            RecoveryToken::of_person(key, RecoveryKind::EmailVerification, user_id, request.id)
        };
        let mut tries = 1;
        let verification = loop {
            let at = self.clock.now();
            let new = TokenRequest {
                user_id,
                request: &request,
                origin: &origin,
                at,
            };
            let token = self.new_token(derive, self.lifetimes.email_verification);
            let quotas = |email: Option<&EmailAddress>| {
                let keys = &self.rate_limit_keys;
                let mut quotas = keys.quotas("Recovery", &self.creation_limits, call, email);
                quotas.extend(keys.person_quota("Recovery", &self.creation_limits, user_id));
                quotas
            };
            let created = self.recovery.create_email_verification(
                &new,
                token,
                quotas,
                |canonical| self.address_mac(canonical),
                call.deadline,
            );
            match created.await {
                Err(CreateError::Outdated) if tries < TRIES => tries += 1,
                created => break created?,
            }
        };
        if verification.earlier_key.is_none() {
            count(RecoveryKind::EmailVerification, "created");
        }
        Ok(CreateEmailVerificationResponse {
            token: self.token_text(derive, verification.earlier_key),
            expire_time: Some(timestamp(verification.created.expires_at()?)),
            email: self.address_then(&verification),
        })
    }
}

impl RecoveryRpc {
    /// The keyed hash by which a retry recognizes that the address is still the same.
    pub(super) fn address_mac(&self, canonical: &str) -> [u8; 32] {
        self.request_mac.mac(&[b"address", canonical.as_bytes()])
    }

    /// The account's address, if it is the one of the first call. Empty otherwise.
    pub(super) fn address_then(&self, verification: &Verification) -> String {
        let is_same = |address: [u8; 32]| {
            EmailAddress::parse(&verification.email).is_ok_and(|email| {
                self.request_mac
                    .verify(&[b"address", email.canonical().as_bytes()], &address)
            })
        };
        match verification.earlier_key {
            Some(_) if !verification.created.address.is_some_and(is_same) => String::new(),
            _ => verification.email.clone(),
        }
    }
}
