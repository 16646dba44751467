//! DeleteAccount and GetDeletion: erasing an account, and how far that has come.

use haven_platform::{
    call::{Call, User, UserId},
    failure::{Failure, Violation},
    reason::Reason,
    time::timestamp,
    violations::Violations,
};
use haven_proto::identity::v1::{
    DeleteAccountRequest, DeleteAccountResponse, Deletion, DeletionState, ErasedRows, GetDeletionRequest,
    GetDeletionResponse,
};
use secrecy::{ExposeSecret, SecretString};
use uuid::Uuid;

use crate::rpc::{
    IdentityRpc,
    account::get_account::{named_person, party},
    rate_limit_keys::origin,
};
use crate::{
    domain::{audit::AuditEventType, erasure::Erasure, outbox::Message, password::Password},
    hashing::Verdict,
    store::{
        account::delete_account::{EraseError, Eraser, NewErasure},
        account::reauthentication::{OwnPassword, Proof},
    },
};

/// Whose account to erase, and who says so.
#[derive(Debug)]
struct Order {
    request_id: Uuid,
    person: UserId,
    asker: Asker,
}

#[derive(Debug)]
enum Asker {
    /// The person, with the password that they sent: none is a password, too, to those who have none here.
    Person(User, Option<Password>),
    Service,
}

impl IdentityRpc {
    pub(in crate::rpc) async fn delete_account_of(
        &self,
        call: &Call,
        request: DeleteAccountRequest,
    ) -> Result<DeleteAccountResponse, Failure> {
        let order = Order::parse(call, request)?;
        let erasure = match &order.asker {
            Asker::Service => self.erase(call, &order, Eraser::Service).await?,
            Asker::Person(user, password) => {
                let password_version = match self.proof_of(call, user, order.request_id).await? {
                    Proof::Password(own) => self.prove(call, user, password.clone(), own).await?,
                    Proof::Elsewhere { version } => version,
                    // They are still in their session, and ask again.
                    Proof::Erased(erasure) if erasure.request_id == order.request_id => {
                        return Ok(answer(erasure));
                    }
                    Proof::Erased(_) => return Err(Failure::new(Reason::AccountErased)),
                    Proof::Unknown => return Err(Failure::new(Reason::NotFound)),
                };
                let eraser = Eraser::Person {
                    password_version,
                    session_id: user.own_session(),
                };
                self.erase(call, &order, eraser).await?
            }
        };
        Ok(answer(erasure))
    }

    pub(in crate::rpc) async fn get_deletion_of(
        &self,
        call: &Call,
        request: GetDeletionRequest,
    ) -> Result<GetDeletionResponse, Failure> {
        let mut violations = Violations::new();
        let person = violations.uuid("user_id", &request.user_id);
        violations.check()?;
        let erasure = self.erasures.find(UserId::new(person), call.deadline).await?;
        let erasure = erasure.ok_or_else(|| Failure::new(Reason::NotFound))?;
        Ok(GetDeletionResponse {
            deletion: Some(deletion(erasure)),
        })
    }

    /// Sees that it is `user` who wants their account erased. Answers the version of the password that says so.
    async fn prove(
        &self,
        call: &Call,
        user: &User,
        password: Option<Password>,
        own: OwnPassword,
    ) -> Result<i64, Failure> {
        let password = password
            .ok_or_else(|| Failure::field("password", "REQUIRED", "The account's password is required"))?;
        let stored = Some(own.hash.clone());
        match self.passwords.verify(password, stored, call.deadline).await? {
            Verdict::Right | Verdict::RightButOutdated => Ok(own.version),
            Verdict::Wrong => {
                let (event, reason) = (AuditEventType::Deletion, Reason::CredentialsInvalid);
                Err(self.not_proved(call, user, &own, event, reason).await)
            }
        }
    }

    async fn erase(&self, call: &Call, order: &Order, eraser: Eraser) -> Result<Erasure, Failure> {
        let message = Message::erase_user(self.entropy.uuid_v7(&self.clock), order.person);
        let new = NewErasure {
            request_id: order.request_id,
            eraser,
            origin: &origin(call, &self.networks),
            message: &message,
            at: self.clock.now(),
        };
        let mut erased = self.erasures.erase(&new, call.deadline).await?;
        for session in erased.ended {
            self.ended.add(session);
        }
        if erased.made_now {
            erased.erasure.receipt = self.dispatcher.deliver_now(message, call.deadline).await;
        }
        Ok(erased.erasure)
    }
}

// === impl Order ===

impl Order {
    /// Parses all of it. A call of somebody for whom a service calls is theirs.
    ///
    /// # Errors
    ///
    /// INVALID_FIELD; NOT_FOUND when a person names somebody else.
    fn parse(call: &Call, sent: DeleteAccountRequest) -> Result<Self, Failure> {
        let mut violations = Violations::new();
        let password = SecretString::from(sent.password);
        let has_password = !password.expose_secret().is_empty();
        let request_id = violations.uuid("request_id", &sent.request_id);
        let person = named_person(call, "user_id", &sent.user_id, &mut violations);
        let Some(user) = call.caller.user else {
            // Nobody would check it, which a service that sends it does not know.
            if has_password {
                violations.add(Violation::new(
                    "password",
                    "NOT_FOR_SERVICES",
                    "A service sends no password",
                ));
            }
            violations.check()?;
            return Ok(Self {
                request_id,
                person,
                asker: Asker::Service,
            });
        };
        let password = Password::present(password)
            .map_err(|rule| violations.add(Violation::new("password", rule.name(), rule.description())))
            .ok()
            .filter(|_| has_password);
        violations.check()?;
        party(call, person)?;
        Ok(Self {
            request_id,
            person,
            asker: Asker::Person(user, password),
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
        deletion: Some(deletion(erasure)),
    }
}

/// `erasure` as it is answered: the rows of this service, then those of data.
fn deletion(erasure: Erasure) -> Deletion {
    let (state, there, complete_time) = match erasure.receipt {
        Some(receipt) => (
            DeletionState::Done,
            receipt.erased,
            Some(timestamp(receipt.confirmed_at)),
        ),
        None => (DeletionState::Pending, Default::default(), None),
    };
    let rows = erasure.erased.into_iter().chain(there);
    Deletion {
        user_id: erasure.user_id.to_string(),
        state: state.into(),
        request_time: Some(timestamp(erasure.requested_at)),
        complete_time,
        erased: rows.map(|(table, rows)| ErasedRows { table, rows }).collect(),
    }
}

#[cfg(test)]
mod tests {
    use std::time::Duration;

    use chrono::DateTime;
    use haven_platform::{
        call::{Caller, ServiceName},
        deadline::Deadline,
    };

    use super::*;
    use crate::domain::erasure::Receipt;

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
            },
            deadline: Deadline::after(Duration::from_secs(1)),
            network: None,
        }
    }

    fn parse(user: bool, user_id: &str, password: &str, request_id: &str) -> Result<Order, Failure> {
        let sent = DeleteAccountRequest {
            user_id: user_id.into(),
            password: password.into(),
            request_id: request_id.into(),
        };
        Order::parse(&call(user), sent)
    }

    fn violations(outcome: Result<Order, Failure>) -> Vec<(String, &'static str)> {
        let failure = outcome.unwrap_err();
        let found = failure.all_violations().iter();
        found.map(|one| (one.field.clone(), one.name)).collect()
    }

    #[test]
    fn a_service_names_somebody_and_sends_no_password() {
        let found = violations(parse(false, "", "kX9vQ2wZ", ""));
        let expected = [
            ("request_id", "REQUIRED"),
            ("user_id", "REQUIRED"),
            ("password", "NOT_FOR_SERVICES"),
        ];
        assert_eq!(found, expected.map(|(field, name)| (field.to_owned(), name)));
        let order = parse(false, OTHER, "", ADA).unwrap();
        assert_eq!(order.person.to_string(), OTHER);
        assert!(matches!(order.asker, Asker::Service));
    }

    #[test]
    fn a_person_can_name_nobody_else_also_through_a_service() {
        for named in ["", ADA] {
            let order = parse(true, named, "kX9vQ2wZ", OTHER).unwrap();
            assert_eq!(order.person.to_string(), ADA);
            let shown = format!("{order:?}");
            assert!(!shown.contains("kX9vQ2wZ"), "{shown}");
            assert!(matches!(order.asker, Asker::Person(_, Some(_))));
        }
        let failure = parse(true, OTHER, "kX9vQ2wZ", OTHER).unwrap_err();
        assert_eq!(failure.reason(), Reason::NotFound);
        let found = violations(parse(true, "x", &"x".repeat(129), OTHER));
        let expected = [("user_id", "NOT_A_UUID"), ("password", "TOO_LONG")];
        assert_eq!(found, expected.map(|(field, name)| (field.to_owned(), name)));
    }

    #[test]
    fn it_is_done_once_there_is_a_receipt() {
        let rows = |schema: &str| {
            [format!("{schema}.b"), format!("{schema}.a")]
                .map(|table| (table, 1))
                .into()
        };
        let at = DateTime::from_timestamp(1_000_000_000, 0).unwrap();
        let mut erasure = Erasure {
            user_id: UserId::new(ADA.parse().unwrap()),
            request_id: OTHER.parse().unwrap(),
            requested_at: at,
            erased: rows("identity"),
            receipt: None,
        };
        let pending = deletion(erasure.clone());
        assert_eq!(pending.state(), DeletionState::Pending);
        assert_eq!((pending.complete_time, pending.erased.len()), (None, 2));
        erasure.receipt = Some(Receipt {
            erased: rows("data"),
            confirmed_at: at,
        });
        let done = deletion(erasure);
        assert_eq!(done.state(), DeletionState::Done);
        assert_eq!(done.complete_time, done.request_time);
        let tables: Vec<_> = done.erased.iter().map(|rows| rows.table.as_str()).collect();
        assert_eq!(tables, ["identity.a", "identity.b", "data.a", "data.b"]);
    }
}
