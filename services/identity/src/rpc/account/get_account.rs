//! GetAccount and UpdateAccount: what there is about a person, and who changes it.

use haven_platform::{
    call::{Call, UserId},
    failure::Failure,
    reason::Reason,
    time::timestamp,
    violations::Violations,
};
use haven_proto::identity::v1::{
    self as proto, GetAccountRequest, GetAccountResponse, UpdateAccountRequest, UpdateAccountResponse,
};
use secrecy::ExposeSecret;

use crate::rpc::{
    IdentityRpc,
    account::goals::goal_value,
    account::update_account::parse::{AccountUpdate, Change},
    rate_limit_keys::origin,
};
use crate::{
    domain::{account::Account, outbox::Message, progress::StepError, provider::AuthProvider},
    store::{
        account::update_account::UpdateError,
        account::{AccountError, ActingAs},
    },
};

impl IdentityRpc {
    pub(in crate::rpc) async fn get_account_of(
        &self,
        call: &Call,
        request: GetAccountRequest,
    ) -> Result<GetAccountResponse, Failure> {
        let mut violations = Violations::new();
        let person = named_person(call, "user_id", &request.user_id, &mut violations);
        violations.check()?;
        let party = party(call, person)?;
        let account = match self.accounts.get(party, person, call.deadline).await {
            Err(AccountError::NotFound) if self.gets_external_account(call) => {
                self.ensure_account(call).await?;
                self.accounts.get(party, person, call.deadline).await?
            }
            outcome => outcome?,
        };
        Ok(GetAccountResponse {
            account: Some(account_message(&account)),
        })
    }

    pub(in crate::rpc) async fn update_account_of(
        &self,
        call: &Call,
        request: UpdateAccountRequest,
    ) -> Result<UpdateAccountResponse, Failure> {
        let AccountUpdate { person, change, edit } =
            AccountUpdate::parse(request, call, &self.requests, self.clock.now())?;
        let account = match change {
            Change::Goals(goals) => {
                self.ensure_account(call).await?;
                self.accounts
                    .set_goals(person, &goals, &edit, call.deadline)
                    .await?
            }
            Change::Step(step) => {
                let origin = origin(call, &self.networks);
                self.accounts
                    .take_step(person, step, &edit, &origin, call.deadline)
                    .await?
            }
        };
        Ok(UpdateAccountResponse {
            account: Some(account_message(&account)),
        })
    }

    /// Sees to it that the person who calls has an account, when another provider signs people in: whoever brings its token
    /// gets one on first use, and is made known to data. Three round trips when they have one; none when this service
    /// signs people in.
    ///
    /// # Errors
    ///
    /// ACCOUNT_ERASED when they had one.
    pub(in crate::rpc) async fn ensure_account(&self, call: &Call) -> Result<(), Failure> {
        if !self.gets_external_account(call) {
            return Ok(());
        }
        let person = call.user()?;
        let message = Message::provision_user(self.entropy.uuid_v7(&self.clock), person);
        let made = self
            .accounts
            .make_external(person, &message, self.clock.now(), call.deadline)
            .await?;
        if made {
            self.dispatcher.deliver_now(message, call.deadline).await;
        }
        Ok(())
    }

    fn gets_external_account(&self, call: &Call) -> bool {
        self.provider == AuthProvider::External && call.caller.user.is_some_and(|user| user.foreign)
    }
}

/// Whose account a request is about, by its `field`. A person may leave it empty, for their own; a service may not.
pub(in crate::rpc) fn named_person(
    call: &Call,
    field: &'static str,
    sent: &str,
    violations: &mut Violations,
) -> UserId {
    match call.caller.user {
        Some(user) => violations.optional_uuid(field, sent).map_or(user.id, UserId::new),
        None => UserId::new(violations.uuid(field, sent)),
    }
}

/// As whom `call` reaches the account of `person`. A call of a person through a service is the person's.
///
/// # Errors
///
/// NOT_FOUND when it is a person's, and about somebody else.
pub(in crate::rpc) fn party(call: &Call, person: UserId) -> Result<ActingAs, Failure> {
    match call.caller.user {
        None => Ok(ActingAs::Service),
        Some(user) if user.id == person => Ok(ActingAs::Person),
        Some(_) => Err(Failure::new(Reason::NotFound)),
    }
}

/// An account as the API has it.
pub(in crate::rpc) fn account_message(account: &Account) -> proto::Account {
    let goals = account.goals.iter().flat_map(|goals| goals.iter());
    let email = account.email.as_ref().map(|email| email.expose_secret());
    proto::Account {
        id: account.id.to_string(),
        email: email.unwrap_or_default().to_owned(),
        goals: goals.map(|goal| i32::from(goal_value(goal))).collect(),
        stage: account.progress.stage.get().into(),
        create_time: Some(timestamp(account.created_at)),
        update_time: Some(timestamp(account.updated_at)),
        version: account.version,
        graduated: account.progress.graduated_at.is_some(),
        graduate_time: account.progress.graduated_at.map(timestamp),
        last_active_time: account.last_active_at.map(timestamp),
    }
}

impl From<AccountError> for Failure {
    fn from(error: AccountError) -> Self {
        match error {
            AccountError::NotFound => Self::new(Reason::NotFound),
            AccountError::Erased => Self::new(Reason::AccountErased),
            AccountError::Database(error) => error.into(),
        }
    }
}

impl From<UpdateError> for Failure {
    fn from(error: UpdateError) -> Self {
        match error {
            UpdateError::Account(error) => error.into(),
            UpdateError::VersionConflict { current } => {
                Self::new(Reason::VersionConflict).metadata("current_version", current.to_string())
            }
            UpdateError::RequestIdReused => Self::new(Reason::RequestIdReused),
            UpdateError::Step(StepError::StageNotNext) => Self::field(
                "account.stage",
                "STAGE_NOT_NEXT",
                "A stage follows the one before it, up to the third",
            ),
            UpdateError::Step(StepError::NotAtLastStage) => Self::field(
                "account.graduated",
                "NOT_AT_LAST_STAGE",
                "Whoever graduates is at stage 3",
            ),
            UpdateError::Step(StepError::GraduatedAlready) => {
                Self::field("account.graduated", "GRADUATED_ALREADY", "Nobody graduates twice")
            }
        }
    }
}
