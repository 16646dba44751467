//! ChangePassword: sets a new password, and ends all other sessions.

mod parse;

use chrono::DateTime;
use haven_platform::{
    call::{Call, User},
    failure::Failure,
    handler::Handler,
    reason::Reason,
    request_key::RequestKey,
    time::timestamp,
};
use haven_proto::identity::v1::{ChangePasswordRequest, ChangePasswordResponse};

use self::parse::{ChangeForm, ChangedPasswords};
use super::AccountRpc;
use crate::{
    domain::{
        account::PasswordHash,
        audit::AuditEventType,
        email::EmailAddress,
        password::{Password, PasswordChange},
        provider::AuthProvider,
    },
    hashing::Verdict,
    store::account::{ChangeError, EarlierRequest, OwnCredential, OwnPassword, PasswordChanged},
};

impl Handler<ChangePasswordRequest> for AccountRpc {
    type Answer = ChangePasswordResponse;

    async fn handle(
        &self,
        call: &Call,
        request: ChangePasswordRequest,
    ) -> Result<ChangePasswordResponse, Failure> {
        let user = call
            .caller
            .user
            .ok_or_else(|| Failure::new(Reason::AccessDenied))?;
        if self.provider == AuthProvider::External {
            return Err(Failure::new(Reason::AuthProviderExternal));
        }
        let form = ChangeForm::parse(request, &self.request_mac);
        let request = form.request;
        let own = self.own_password(call, &user, &request).await?;
        if own.earlier.is_some() {
            let new = form.repeated()?;
            return self.answer_change_retry(call, &user, &request, own, new).await;
        }
        let (passwords, hash) = self.check_change(call, form, &own).await?;
        let Some(hash) = hash else {
            let (event, reason) = (AuditEventType::PasswordChange, Reason::CredentialsInvalid);
            return Err(self.wrong_password(call, &user, &own, event, reason).await);
        };
        let change = PasswordChange {
            hash: &hash,
            replaces: own.version,
            request: &request,
            session_id: user.own_session(),
            failures: &own.failures,
            origin: &self.audit_origins.of(call),
            at: self.clock.now(),
        };
        match self.own_passwords.change(user.id, &change, call.deadline).await {
            Ok((changed, ended)) => {
                for session in ended {
                    self.ended_sessions.add(user.id, session);
                }
                answer(changed)
            }
            Err(ChangeError::Outdated) => {
                let own = self.own_password(call, &user, &request).await?;
                self.answer_change_retry(call, &user, &request, own, passwords.new)
                    .await
            }
            Err(ChangeError::Database(error)) => Err(error.into()),
        }
    }
}

impl AccountRpc {
    async fn own_password(
        &self,
        call: &Call,
        user: &User,
        request: &RequestKey,
    ) -> Result<OwnPassword, Failure> {
        let is_retry = |earlier: &EarlierRequest| earlier.answer_to(request).is_some();
        match self
            .own_credential(call, user, ("ChangePassword", request.id), is_retry)
            .await?
        {
            OwnCredential::Password(own) => Ok(own),
            OwnCredential::External { .. } => Err(Failure::new(Reason::AuthProviderExternal)),
            OwnCredential::Erased(_) => Err(Failure::new(Reason::AccountErased)),
            OwnCredential::NoAccount => Err(Failure::new(Reason::NotFound)),
        }
    }

    /// Reports all violations of the request; then checks the current password and hashes the new one, both in one turn of
    /// the hashing queue. There is no hash when the current password is wrong.
    async fn check_change(
        &self,
        call: &Call,
        form: ChangeForm,
        own: &OwnPassword,
    ) -> Result<(ChangedPasswords, Option<PasswordHash>), Failure> {
        let stored = own.hash.clone();
        let email = EmailAddress::parse(&own.email).ok();
        let passwords = self
            .estimator
            .run(call.into(), call.deadline, move || form.check(email.as_ref()))
            .await??;
        self.passwords
            .run(call.deadline, move |hasher, memory| {
                if hasher.verify(&passwords.current, Some(&stored), memory)? == Verdict::Wrong {
                    return Ok((passwords, None));
                }
                let hash = hasher.hash(&passwords.new, memory)?;
                Ok((passwords, Some(hash)))
            })
            .await?
    }

    /// Returns the first answer when this same request changed the password. The new password is part of the request
    /// and is stored only as its slow hash, so it is checked against that hash. The previous password is not stored.
    ///
    /// # Errors
    ///
    /// CREDENTIALS_INVALID when another request changed the password in the meantime; REQUEST_ID_REUSED when a request
    /// with this id but other content was made before.
    async fn answer_change_retry(
        &self,
        call: &Call,
        user: &User,
        request: &RequestKey,
        own: OwnPassword,
        new: Password,
    ) -> Result<ChangePasswordResponse, Failure> {
        let Some(earlier) = &own.earlier else {
            return Err(Failure::new(Reason::CredentialsInvalid));
        };
        let Some(changed) = earlier.answer_to(request) else {
            return Err(Failure::new(Reason::RequestIdReused));
        };
        let stored = Some(own.hash.clone());
        match self.passwords.verify(new, stored, call.deadline).await? {
            Verdict::Right | Verdict::RightButOutdated => answer(changed),
            // Counted as a wrong password, or else retries could be used to guess the password.
            Verdict::Wrong => {
                let (event, reason) = (AuditEventType::PasswordChange, Reason::RequestIdReused);
                Err(self.wrong_password(call, user, &own, event, reason).await)
            }
        }
    }
}

fn answer(changed: PasswordChanged) -> Result<ChangePasswordResponse, Failure> {
    let changed_at = DateTime::from_timestamp_micros(changed.changed_at_micros)
        .ok_or_else(|| Failure::internal("the stored answer has no valid time"))?;
    Ok(ChangePasswordResponse {
        change_time: Some(timestamp(changed_at)),
        ended_sessions: changed.ended_sessions,
    })
}
