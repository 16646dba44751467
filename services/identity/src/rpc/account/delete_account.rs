//! DeleteAccount: erases an account here and in data.

use haven_platform::{
    call::{Call, User, UserId},
    failure::{Failure, Violation},
    handler::Handler,
    reason::Reason,
    violations::Violations,
};
use haven_proto::identity::v1::{DeleteAccountRequest, DeleteAccountResponse};
use secrecy::{ExposeSecret, SecretString};
use uuid::Uuid;

use super::{
    AccountRpc,
    account_access::{acting_as, parse_user_id},
    deletion::deletion_message,
};
use crate::{
    domain::{
        audit::AuditEventType,
        erasure::{Erasure, NewErasure, Requester},
        outbox::Message,
        password::Password,
    },
    hashing::Verdict,
    store::account::{EraseError, OwnCredential, OwnPassword},
};

/// A parsed DeleteAccount request.
#[derive(Debug)]
struct AccountDeletion {
    request_id: Uuid,
    person: UserId,
    caller: DeletionCaller,
}

/// The caller that requests the deletion.
#[derive(Debug)]
enum DeletionCaller {
    /// The account's person, with the password that they sent. `None` when it is empty, which is right when another
    /// provider signs the person in.
    Person(User, Option<Password>),
    Service,
}

impl Handler<DeleteAccountRequest> for AccountRpc {
    type Answer = DeleteAccountResponse;

    async fn handle(
        &self,
        call: &Call,
        request: DeleteAccountRequest,
    ) -> Result<DeleteAccountResponse, Failure> {
        let deletion = AccountDeletion::parse(call, request)?;
        let erasure = match &deletion.caller {
            DeletionCaller::Service => self.erase(call, &deletion, Requester::Service).await?,
            DeletionCaller::Person(user, password) => {
                let request = ("DeleteAccount", deletion.request_id);
                // A retry finds no account.
                let password_version = match self.own_credential(call, user, request, |_| false).await? {
                    OwnCredential::Password(own) => {
                        self.check_own_password(call, user, password.clone(), own).await?
                    }
                    OwnCredential::External { version } => version,
                    // A retry, as the session of the call has not ended.
                    OwnCredential::Erased(erasure) if erasure.request_id == deletion.request_id => {
                        return Ok(answer(erasure));
                    }
                    OwnCredential::Erased(_) => return Err(Failure::new(Reason::AccountErased)),
                    OwnCredential::NoAccount => return Err(Failure::new(Reason::NotFound)),
                };
                let requester = Requester::Person {
                    password_version,
                    session_id: user.own_session(),
                };
                self.erase(call, &deletion, requester).await?
            }
        };
        Ok(answer(erasure))
    }
}

impl AccountRpc {
    /// Checks the password by which `user` confirms the deletion. Returns the version of the password.
    async fn check_own_password(
        &self,
        call: &Call,
        user: &User,
        password: Option<Password>,
        own: OwnPassword,
    ) -> Result<i64, Failure> {
        let password =
            password.ok_or_else(|| Failure::field("password", "REQUIRED", "password is required"))?;
        let stored = Some(own.hash.clone());
        match self.passwords.verify(password, stored, call.deadline).await? {
            Verdict::Right | Verdict::RightButOutdated => Ok(own.version),
            Verdict::Wrong => {
                let (event, reason) = (AuditEventType::Deletion, Reason::CredentialsInvalid);
                Err(self.wrong_password(call, user, &own, event, reason).await)
            }
        }
    }

    async fn erase(
        &self,
        call: &Call,
        deletion: &AccountDeletion,
        requester: Requester,
    ) -> Result<Erasure, Failure> {
        let message = Message::erase_user(self.entropy.uuid_v7(&self.clock), deletion.person);
        let new = NewErasure {
            request_id: deletion.request_id,
            requester,
            origin: &self.audit_origins.of(call),
            message: &message,
            at: self.clock.now(),
        };
        let mut erased = self.erasures.erase(&new, call.deadline).await?;
        for session in erased.ended {
            self.ended_sessions.add(deletion.person, session);
        }
        if erased.is_new {
            erased.erasure.receipt = self.dispatcher.deliver_now(message, call.deadline).await;
        }
        Ok(erased.erasure)
    }
}

// === impl AccountDeletion ===

impl AccountDeletion {
    /// Parses `request`. A call of a person through a service is the person's.
    ///
    /// # Errors
    ///
    /// INVALID_FIELD with all violations; NOT_FOUND when a person names another person.
    fn parse(call: &Call, request: DeleteAccountRequest) -> Result<Self, Failure> {
        let mut violations = Violations::new();
        let password = SecretString::from(request.password);
        let has_password = !password.expose_secret().is_empty();
        let request_id = violations.uuid("request_id", &request.request_id);
        let person = parse_user_id(call, "user_id", &request.user_id, &mut violations);
        let Some(user) = call.caller.user else {
            // A service that sends a password expects it to be checked, which it would not be.
            if has_password {
                violations.add(Violation::new(
                    "password",
                    "NOT_FOR_SERVICES",
                    "password must be empty when a service calls",
                ));
            }
            violations.check()?;
            return Ok(Self {
                request_id,
                person,
                caller: DeletionCaller::Service,
            });
        };
        let password = Password::present(password)
            .map_err(|rule| violations.add(Violation::new("password", rule.name(), rule.description())))
            .ok()
            .filter(|_| has_password);
        violations.check()?;
        acting_as(call, person)?;
        Ok(Self {
            request_id,
            person,
            caller: DeletionCaller::Person(user, password),
        })
    }
}

impl From<EraseError> for Failure {
    fn from(error: EraseError) -> Self {
        match error {
            EraseError::NotFound => Self::new(Reason::NotFound),
            EraseError::Erased => Self::new(Reason::AccountErased),
            EraseError::RequestIdReused => Self::new(Reason::RequestIdReused),
            EraseError::PasswordChanged => Self::new(Reason::CredentialsInvalid),
            EraseError::Database(error) => error.into(),
        }
    }
}

fn answer(erasure: Erasure) -> DeleteAccountResponse {
    DeleteAccountResponse {
        deletion: Some(deletion_message(erasure)),
    }
}

#[cfg(test)]
mod tests {
    use std::time::Duration;

    use haven_platform::{
        call::{Caller, ServiceName},
        deadline::Deadline,
        network::NetworkSource,
    };

    use super::*;

    const ADA: &str = "01890a5d-ac96-774b-bcce-b302099a8057";
    const OTHER: &str = "01890a5d-ac96-774b-bcce-b302099a8058";

    fn call(user: bool) -> Call {
        Call {
            caller: Caller {
                user: user.then(|| User {
                    id: UserId::new(ADA.parse().unwrap()),
                    session_id: None,
                    foreign: false,
                    valid_until: None,
                }),
                service: Some(ServiceName::new("backend")),
                ..Caller::default()
            },
            deadline: Deadline::after(Duration::from_secs(1)),
            network: None,
            network_source: NetworkSource::Client,
        }
    }

    fn parse(
        user: bool,
        user_id: &str,
        password: &str,
        request_id: &str,
    ) -> Result<AccountDeletion, Failure> {
        let request = DeleteAccountRequest {
            user_id: user_id.into(),
            password: password.into(),
            request_id: request_id.into(),
        };
        AccountDeletion::parse(&call(user), request)
    }

    fn violations_of(outcome: Result<AccountDeletion, Failure>) -> Vec<(String, &'static str)> {
        let failure = outcome.unwrap_err();
        let violations = failure.all_violations().iter();
        violations.map(|one| (one.field.clone(), one.name)).collect()
    }

    #[test]
    fn a_service_names_the_person_and_sends_no_password() {
        let violations = violations_of(parse(false, "", "kX9vQ2wZ", ""));
        let expected = [
            ("request_id", "REQUIRED"),
            ("user_id", "REQUIRED"),
            ("password", "NOT_FOR_SERVICES"),
        ];
        assert_eq!(violations, expected.map(|(field, name)| (field.to_owned(), name)));
        let deletion = parse(false, OTHER, "", ADA).unwrap();
        assert_eq!(deletion.person.to_string(), OTHER);
        assert!(matches!(deletion.caller, DeletionCaller::Service));
    }

    #[test]
    fn a_person_can_name_only_themselves_even_through_a_service() {
        for named in ["", ADA] {
            let deletion = parse(true, named, "kX9vQ2wZ", OTHER).unwrap();
            assert_eq!(deletion.person.to_string(), ADA);
            let shown = format!("{deletion:?}");
            assert!(!shown.contains("kX9vQ2wZ"), "{shown}");
            assert!(matches!(deletion.caller, DeletionCaller::Person(_, Some(_))));
        }
        let failure = parse(true, OTHER, "kX9vQ2wZ", OTHER).unwrap_err();
        assert_eq!(failure.reason(), Reason::NotFound);
        let violations = violations_of(parse(true, "x", &"x".repeat(129), OTHER));
        let expected = [("user_id", "NOT_A_UUID"), ("password", "TOO_LONG")];
        assert_eq!(violations, expected.map(|(field, name)| (field.to_owned(), name)));
    }
}
