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
    time::timestamp,
};
use haven_proto::identity::v1::{Account, SignUpRequest, SignUpResponse};

use self::parse::{SignUp, SignUpForm};
use super::{AccountRpc, goals::goal_value};
use crate::{
    domain::{
        account::{FIRST_VERSION, NewAccount, PasswordHash},
        consent::NewConsent,
        outbox::Message,
        progress::Stage,
        provider::AuthProvider,
    },
    hashing::Verdict,
    store::account::{EarlierSignUp, SignUpError},
};

impl Handler<SignUpRequest> for AccountRpc {
    type Answer = SignUpResponse;

    async fn handle(&self, call: &Call, request: SignUpRequest) -> Result<SignUpResponse, Failure> {
        if self.provider == AuthProvider::External {
            return Err(Failure::new(Reason::AuthProviderExternal));
        }
        let form = SignUpForm::parse(request, &self.required_consents, &self.request_mac);
        // The limits of the network and the service come before anything expensive, and before other errors, so that no caller can
        // try addresses or passwords without limit. The limit of the address comes after what a stranger can be refused for
        // without end, and after what a retry is recognized by: neither uses the address up.
        let quotas = self
            .rate_limit_keys
            .quotas("SignUp", &self.sign_up_limits, call, None);
        let earlier = self
            .accounts
            .admit_sign_up(form.request.id, &quotas, call.deadline)
            .await?;
        let sign_up = self.estimator.run(call.deadline, move || form.check()).await??;
        let account = match earlier {
            Some(earlier) => self.answer_sign_up_retry(call, sign_up, earlier).await?,
            None => self.create_account(call, sign_up).await?,
        };
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
        self.accounts
            .admit("SignUp.email", &quotas, call.deadline)
            .await?;
        let password = sign_up.password.clone();
        let hashed = self.passwords.run(call.deadline, move |hasher, memory| {
            hasher.hash(&password, memory)
        });
        let password_hash = hashed.await??;
        let account = self.new_account(&sign_up, password_hash);
        let message = Message::provision_user(self.entropy.uuid_v7(&self.clock), account.id);
        let origin = self.audit_origins.of(call);
        let signed_up = self
            .accounts
            .sign_up(&account, &sign_up.request, &message, &origin, call.deadline);
        match signed_up.await {
            Ok(()) => {}
            Err(SignUpError::Exists) => {
                let earlier = self.accounts.find_sign_up(sign_up.request.id, call.deadline);
                let earlier = earlier.await?.ok_or_else(|| Failure::new(Reason::EmailTaken))?;
                return self.answer_sign_up_retry(call, sign_up, earlier).await;
            }
            Err(SignUpError::Database(error)) => return Err(error.into()),
        }
        self.dispatcher.deliver_now(message, call.deadline).await;
        Ok(new_account_message(account.id, &sign_up, account.created_at))
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

    /// Returns the first answer when the existing account was created by this same request. The password is part of the
    /// request and is stored only as its slow hash, so it is checked against that hash.
    ///
    /// # Errors
    ///
    /// REQUEST_ID_REUSED when a request with this id but other content created it.
    async fn answer_sign_up_retry(
        &self,
        call: &Call,
        sign_up: SignUp,
        earlier: EarlierSignUp,
    ) -> Result<Account, Failure> {
        if !sign_up.request.payload_macs.contains(&earlier.payload_mac) {
            return Err(Failure::new(Reason::RequestIdReused));
        }
        let password = sign_up.password.clone();
        let verdict = self
            .passwords
            .verify(password, Some(earlier.password_hash), call.deadline);
        match verdict.await? {
            Verdict::Right | Verdict::RightButOutdated => {
                Ok(new_account_message(earlier.user_id, &sign_up, earlier.created_at))
            }
            Verdict::Wrong => Err(Failure::new(Reason::RequestIdReused)),
        }
    }
}

/// The account's message as it was when the account was created.
fn new_account_message(id: UserId, sign_up: &SignUp, created_at: DateTime<Utc>) -> Account {
    Account {
        id: id.to_string(),
        email: sign_up.email.entered().to_owned(),
        goals: sign_up
            .goals
            .iter()
            .map(|goal| i32::from(goal_value(goal)))
            .collect(),
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
