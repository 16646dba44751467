//! CreateEmailChange: creates the tokens that change the address of an account, and that take the change back.

use haven_platform::{
    call::{Call, UserId},
    failure::Failure,
    handler::Handler,
    mac::{MacKey, MacKeys},
    reason::Reason,
    request_key::RequestKey,
    time::timestamp,
    violations::Violations,
};
use haven_proto::identity::v1::{CreateEmailChangeRequest, CreateEmailChangeResponse};

use super::{RecoveryRpc, count};
use crate::{
    domain::{
        email::EmailAddress,
        recovery::{NewEmailChange, RecoveryKind, RecoveryToken, TokenRequest},
    },
    rpc::email,
    store::recovery::CreateError,
};

/// The number of times that a call is tried when another call with the same request id comes first.
const TRIES: usize = 3;

/// The parsed [`CreateEmailChangeRequest`].
struct ChangeCreation {
    user_id: UserId,
    email: EmailAddress,
    request: RequestKey,
}

impl Handler<CreateEmailChangeRequest> for RecoveryRpc {
    type Answer = CreateEmailChangeResponse;

    async fn handle(
        &self,
        call: &Call,
        request: CreateEmailChangeRequest,
    ) -> Result<CreateEmailChangeResponse, Failure> {
        self.check_provider()?;
        let ChangeCreation {
            user_id,
            email,
            request,
        } = ChangeCreation::parse(request, &self.request_mac)?;
        let origin = self.audit_origins.of(call);
        let keys = &self.rate_limit_keys;
        let mut quotas = keys.quotas("Recovery", &self.creation_limits, call, Some(&email));
        quotas.extend(keys.person_quota("Recovery", &self.creation_limits, user_id));
        let derive = |kind| move |key: &MacKey| RecoveryToken::of_person(key, kind, user_id, request.id);
        let (change, undo) = (derive(RecoveryKind::EmailChange), derive(RecoveryKind::EmailUndo));
        let mut tries = 1;
        let created = loop {
            let at = self.clock.now();
            let new = TokenRequest {
                user_id,
                request: &request,
                origin: &origin,
                at,
            };
            let lifetime = self.lifetimes.email_change;
            let tokens = NewEmailChange {
                email: &email,
                change: self.new_token(change, lifetime),
                undo: self.new_token(undo, lifetime + self.lifetimes.email_undo),
            };
            let created = self.recovery.create_email_change(
                &new,
                &tokens,
                &quotas,
                |canonical| self.address_mac(canonical),
                call.deadline,
            );
            match created.await {
                Err(CreateError::Outdated) if tries < TRIES => tries += 1,
                created => break created?,
            }
        };
        if created.earlier_key.is_none() {
            count(RecoveryKind::EmailChange, "created");
            count(RecoveryKind::EmailUndo, "created");
        }
        Ok(CreateEmailChangeResponse {
            token: self.token_text(change, created.earlier_key),
            expire_time: Some(timestamp(created.created.expires_at()?)),
            undo_token: self.token_text(undo, created.earlier_key),
            undo_expire_time: Some(timestamp(created.created.undo_expires_at()?)),
            old_email: self.address_then(&created),
        })
    }
}

// === impl ChangeCreation ===

impl ChangeCreation {
    /// Parses `request`.
    ///
    /// # Errors
    ///
    /// INVALID_FIELD with all violations; EMAIL_INVALID when all of them are of the address.
    fn parse(mut request: CreateEmailChangeRequest, request_mac: &MacKeys) -> Result<Self, Failure> {
        let mut violations = Violations::new();
        let key = RequestKey::take(
            "CreateEmailChange",
            &mut request,
            |request| &mut request.request_id,
            request_mac,
            &mut violations,
        );
        let user_id = UserId::new(violations.uuid("user_id", &request.user_id));
        let email = email::parse(&request.email, &mut violations);
        let email = violations.finish_as(
            |violations| match violations.iter().all(|one| one.field == "email") {
                true => Reason::EmailInvalid,
                false => Reason::InvalidField,
            },
            email,
        )?;
        Ok(Self {
            user_id,
            email,
            request: key,
        })
    }
}
