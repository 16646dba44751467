//! SignUp: creates an account.

mod parse;
#[cfg(test)]
mod tests;

use chrono::{DateTime, Utc};
use haven_platform::{
    call::{Call, UserId},
    failure::Failure,
    handler::Handler,
    reason::Reason,
    request_key::RequestKey,
    time::timestamp,
};
use haven_proto::identity::v1::{Account, SignUpRequest, SignUpResponse};
use secrecy::ExposeSecret;

use self::parse::{RepeatedSignUp, SignUp, SignUpForm};
use super::{AccountRpc, goals::goal_value};
use crate::{
    domain::{
        account::{FIRST_VERSION, NewAccount, PasswordHash},
        consent::NewConsent,
        goals::Goals,
        outbox::Message,
        progress::Stage,
        provider::AuthProvider,
    },
    hashing::Verdict,
    store::account::{EarlierSignUp, EarlierSignUpError, SignUpError},
};

impl Handler<SignUpRequest> for AccountRpc {
    type Answer = SignUpResponse;

    async fn handle(&self, call: &Call, request: SignUpRequest) -> Result<SignUpResponse, Failure> {
        if self.provider == AuthProvider::External {
            return Err(Failure::new(Reason::AuthProviderExternal));
        }
        let form = SignUpForm::parse(
            request,
            &self.required_consents,
            &self.consent_versions,
            &self.request_mac,
        );
        // The limits of the network and the service come before anything expensive, and before other errors, so that no caller can
        // try addresses or passwords without limit. The limit of the address comes last, with the account itself: neither what a
        // stranger can be refused for without end, nor a failure of this service uses the address up. A retry is recognized
        // before all of it, because the limits, the consents and the policy may have changed since the first try. It has a
        // limit of its own.
        let quotas = self
            .rate_limit_keys
            .quotas("SignUp", &self.sign_up_limits, call, None);
        let request = form.request;
        let retries = (
            self.rate_limit_keys.retry_quota("SignUp", b"", request.id),
            self.rate_limit_keys.sign_up_failures(request.id),
        );
        let earlier = self
            .accounts
            .admit_sign_up(&request, &quotas, &retries, call.deadline)
            .await?;
        if let Some(earlier) = earlier.as_ref().filter(|earlier| earlier.is_of(&request)) {
            let account = self.answer_sign_up_retry(call, form.repeated()?, earlier, &request);
            return Ok(SignUpResponse {
                account: Some(account.await?),
            });
        }
        let sign_up = self
            .estimator
            .run(call.into(), call.deadline, move || form.check())
            .await??;
        if earlier.is_some() {
            return Err(Failure::new(Reason::RequestIdReused));
        }
        let account = self.create_account(call, sign_up).await?;
        Ok(SignUpResponse {
            account: Some(account),
        })
    }
}

impl AccountRpc {
    async fn create_account(&self, call: &Call, sign_up: SignUp) -> Result<Account, Failure> {
        let quotas = self
            .rate_limit_keys
            .email_quota("SignUp", &self.sign_up_limits, &sign_up.email);
        let password = sign_up.password.clone();
        let hashed = self.passwords.run(call.deadline, move |hasher, memory| {
            hasher.hash(&password, memory)
        });
        let password_hash = hashed.await??;
        let account = self.new_account(&sign_up, password_hash);
        let message = Message::provision_user(self.entropy.uuid_v7(&self.clock), account.id);
        let origin = self.audit_origins.of(call);
        let signed_up = self.accounts.sign_up(
            &account,
            &quotas,
            &sign_up.request,
            &message,
            &origin,
            call.deadline,
        );
        match signed_up.await {
            Ok(()) => {}
            Err(SignUpError::Erased) => return Err(Failure::new(Reason::AccountErased)),
            Err(SignUpError::Database(error)) => return Err(error.into()),
            Err(error) => {
                // The same request may have been committed in the meantime.
                let request = sign_up.request;
                match self.accounts.find_sign_up(request.id, call.deadline).await? {
                    // This very call made the account: it was sent again after the first attempt was committed. The message
                    // waits for this call.
                    Some(earlier) if earlier.user_id == account.id => {}
                    Some(earlier) if !earlier.is_of(&request) => {
                        return Err(Failure::new(Reason::RequestIdReused));
                    }
                    Some(earlier) => {
                        let repeated = RepeatedSignUp {
                            email: sign_up.email.entered().into(),
                            password: sign_up.password,
                            goals: sign_up.goals,
                        };
                        return self
                            .answer_sign_up_retry(call, repeated, &earlier, &request)
                            .await;
                    }
                    None => {
                        if let SignUpError::Limited(limited) = error {
                            return Err(limited.into());
                        }
                        // To learn that an address is taken counts like a sign-up.
                        self.accounts
                            .admit("SignUp.email", &quotas, call.deadline)
                            .await?;
                        return Err(Failure::new(Reason::EmailTaken));
                    }
                }
            }
        }
        self.dispatcher.deliver_now(message, call.deadline).await;
        let email = sign_up.email.entered();
        Ok(new_account_message(
            account.id,
            email,
            &sign_up.goals,
            account.created_at,
        ))
    }

    fn new_account(&self, sign_up: &SignUp, password_hash: PasswordHash) -> NewAccount {
        let consents = sign_up.consents.iter();
        NewAccount {
            id: UserId::new(self.entropy.uuid_v7(&self.clock)),
            email: sign_up.email.clone(),
            password_hash,
            goals: sign_up.goals.clone(),
            consents: consents
                .map(|consent| NewConsent {
                    id: self.entropy.uuid_v7(&self.clock),
                    consent: consent.clone(),
                })
                .collect(),
            created_at: self.clock.now(),
        }
    }

    /// Returns the first answer when `earlier`, which has the content of `request`, also has its password. The password is
    /// part of the request and is stored only as its slow hash, so it is checked against that hash.
    ///
    /// # Errors
    ///
    /// REQUEST_ID_REUSED when the password is another one. It is counted as a wrong one, or else retries could be used to
    /// guess the password.
    async fn answer_sign_up_retry(
        &self,
        call: &Call,
        repeated: RepeatedSignUp,
        earlier: &EarlierSignUp,
        request: &RequestKey,
    ) -> Result<Account, Failure> {
        let RepeatedSignUp {
            email,
            password,
            goals,
        } = repeated;
        let stored = earlier.password_hash.clone();
        match self
            .passwords
            .verify(password, Some(stored), call.deadline)
            .await?
        {
            Verdict::Right | Verdict::RightButOutdated => Ok(new_account_message(
                earlier.user_id,
                email.expose_secret(),
                &goals,
                earlier.created_at,
            )),
            Verdict::Wrong => {
                let failures = self.rate_limit_keys.sign_up_failures(request.id);
                let at = self.clock.now();
                self.accounts
                    .count_wrong_sign_up(&failures, at, call.deadline)
                    .await?;
                Err(Failure::new(Reason::RequestIdReused))
            }
        }
    }
}

impl From<EarlierSignUpError> for Failure {
    fn from(error: EarlierSignUpError) -> Self {
        match error {
            EarlierSignUpError::Erased => Self::new(Reason::AccountErased),
            EarlierSignUpError::Limited(error) => error.into(),
        }
    }
}

/// The account's message as it was when the account was created.
fn new_account_message(id: UserId, email: &str, goals: &Goals, created_at: DateTime<Utc>) -> Account {
    Account {
        id: id.to_string(),
        email: email.to_owned(),
        goals: goals.iter().map(|goal| i32::from(goal_value(goal))).collect(),
        stage: Stage::FIRST.get().into(),
        create_time: Some(timestamp(created_at)),
        update_time: Some(timestamp(created_at)),
        version: FIRST_VERSION,
        graduated: false,
        graduate_time: None,
        last_active_time: None,
        email_verified_time: None,
    }
}
