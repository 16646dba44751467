//! `haven.identity.v1.AccountService`: accounts.

use std::sync::Arc;

use chrono::{DateTime, Utc};
use haven_platform::{
    call::{Call, UserId},
    deadline::Deadline,
    entropy::Entropy,
    failure::Failure,
    mac::MacKey,
    reason::Reason,
    time::{Clock, timestamp},
};
use haven_proto::identity::v1::{
    Account, SignUpRequest, SignUpResponse, account_service_server::AccountService,
};
use tonic::{Request, Response, Status};

use super::{
    parsing::goal_value,
    sign_up::{SignUp, SignUpForm},
};
use crate::{
    dispatcher::Dispatcher,
    domain::{
        account::{FIRST_STAGE, FIRST_VERSION, NewAccount, NewConsent, PasswordHash},
        consent::RequiredConsents,
        outbox::ProvisionUser,
    },
    hashing::{Admission, Hasher, Overloaded, Verdict},
    store::account::{Accounts, SignUpError},
};

/// The service, as the server runs it.
#[derive(Debug)]
pub struct AccountRpc {
    /// The accounts.
    pub accounts: Accounts,
    /// Tells data of new ones.
    pub dispatcher: Dispatcher,
    /// Who may hash.
    pub admission: Admission,
    /// Hashes.
    pub hasher: Arc<Hasher>,
    /// What a sign-up has to agree to.
    pub required: RequiredConsents,
    /// For the keyed hashes of requests.
    pub requests: MacKey,
    /// The time of day.
    pub clock: Clock,
    /// For ids.
    pub entropy: Entropy,
}

#[tonic::async_trait]
impl AccountService for AccountRpc {
    async fn sign_up(&self, request: Request<SignUpRequest>) -> Result<Response<SignUpResponse>, Status> {
        let call = Call::of(&request)?;
        let form = SignUpForm::read(request.into_inner(), &self.required, &self.requests);
        let account = self.make_account(&call, form).await?;
        Ok(Response::new(SignUpResponse {
            account: Some(account),
        }))
    }
}

impl AccountRpc {
    async fn make_account(&self, call: &Call, form: SignUpForm) -> Result<Account, Failure> {
        let hasher = Arc::clone(&self.hasher);
        let slot = self.admission.admit(call.deadline).await?;
        let checked = slot.run(move |memory| {
            let sign_up = form.check()?;
            let hash = hasher
                .hash(&sign_up.password, memory)
                .map_err(|error| Failure::internal(error.to_string()))?;
            Ok::<_, Failure>((sign_up, hash))
        });
        let (sign_up, password_hash) = checked.await.map_err(Failure::internal)??;
        let account = self.new_account(&sign_up, password_hash);
        let message = ProvisionUser::new(self.entropy.uuid_v7(&self.clock), account.id);
        match self
            .accounts
            .sign_up(&account, &sign_up.request, &message, call.deadline)
            .await
        {
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
        let hasher = Arc::clone(&self.hasher);
        let password = sign_up.password.clone();
        let slot = self.admission.admit(deadline).await?;
        let verdict = slot.run(move |memory| hasher.verify(&password, Some(&earlier.password_hash), memory));
        match verdict
            .await
            .map_err(Failure::internal)?
            .map_err(Failure::internal)?
        {
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
        stage: FIRST_STAGE,
        create_time: Some(timestamp(created_at)),
        update_time: Some(timestamp(created_at)),
        version: FIRST_VERSION,
    }
}

impl From<Overloaded> for Failure {
    fn from(overloaded: Overloaded) -> Self {
        Self::new(Reason::Overloaded).retry_after(overloaded.retry_after)
    }
}
