//! SignUp: making an account.

pub(in crate::rpc) mod parse;

use chrono::{DateTime, Utc};
use haven_platform::{
    call::{Call, UserId},
    deadline::Deadline,
    failure::Failure,
    reason::Reason,
    time::timestamp,
};
use haven_proto::identity::v1::{Account, SignUpRequest, SignUpResponse};

use crate::rpc::{
    IdentityRpc,
    account::goals::goal_value,
    account::sign_up::parse::{SignUp, SignUpForm},
    rate_limit_keys::origin,
};
use crate::{
    domain::{
        account::{FIRST_VERSION, NewAccount, NewConsent, PasswordHash},
        outbox::Message,
        progress::Stage,
        provider::AuthProvider,
    },
    hashing::Verdict,
    store::account::sign_up::SignUpError,
};

impl IdentityRpc {
    pub(in crate::rpc) async fn sign_up_of(
        &self,
        call: &Call,
        request: SignUpRequest,
    ) -> Result<SignUpResponse, Failure> {
        if self.provider == AuthProvider::External {
            return Err(Failure::new(Reason::AuthProviderExternal));
        }
        let form = SignUpForm::read(request, &self.required, &self.requests);
        // Before anything that costs, and whatever else is wrong: nobody tries addresses or passwords out without end.
        let quotas = self
            .limit_keys
            .quotas("SignUp", &self.sign_up_limits, call, form.email());
        self.accounts.admit_sign_up(&quotas, call.deadline).await?;
        let account = self.make_account(call, form).await?;
        Ok(SignUpResponse {
            account: Some(account),
        })
    }

    async fn make_account(&self, call: &Call, form: SignUpForm) -> Result<Account, Failure> {
        let checked = self.passwords.run(call.deadline, move |hasher, memory| {
            let sign_up = form.check()?;
            let hash = hasher.hash(&sign_up.password, memory)?;
            Ok::<_, Failure>((sign_up, hash))
        });
        let (sign_up, password_hash) = checked.await??;
        let account = self.new_account(&sign_up, password_hash);
        let message = Message::provision_user(self.entropy.uuid_v7(&self.clock), account.id);
        let origin = origin(call, &self.networks);
        let signed_up = self
            .accounts
            .sign_up(&account, &sign_up.request, &message, &origin, call.deadline);
        match signed_up.await {
            Ok(()) => {}
            Err(SignUpError::Exists) => return self.answer_again(sign_up, call.deadline).await,
            Err(SignUpError::Database(error)) => return Err(error.into()),
        }
        self.dispatcher.deliver_now(message, call.deadline).await;
        Ok(account_message(account.id, &sign_up, account.created_at))
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

    /// The first answer, when there is an account because this very request made it. The password is part of the request
    /// and kept only as its slow hash, so that is what it is checked against.
    ///
    /// # Errors
    ///
    /// EMAIL_TAKEN when another request made it; REQUEST_ID_REUSED when this request id made it with other content.
    async fn answer_again(&self, sign_up: SignUp, deadline: Deadline) -> Result<Account, Failure> {
        let Some(earlier) = self.accounts.find_sign_up(sign_up.request.id, deadline).await? else {
            return Err(Failure::new(Reason::EmailTaken));
        };
        if earlier.payload_mac != sign_up.request.payload_mac {
            return Err(Failure::new(Reason::RequestIdReused));
        }
        let password = sign_up.password.clone();
        let verdict = self
            .passwords
            .verify(password, Some(earlier.password_hash), deadline);
        match verdict.await? {
            Verdict::Right | Verdict::RightButOutdated => {
                Ok(account_message(earlier.user_id, &sign_up, earlier.created_at))
            }
            Verdict::Wrong => Err(Failure::new(Reason::RequestIdReused)),
        }
    }
}

/// An account as it was when it was made.
fn account_message(id: UserId, sign_up: &SignUp, created_at: DateTime<Utc>) -> Account {
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
    }
}
