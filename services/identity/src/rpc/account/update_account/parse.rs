//! The parsing of UpdateAccount: the fields that the mask names (AIP-134, AIP-161), and who may change them.

use chrono::{DateTime, Utc};
use haven_platform::{
    call::{Call, UserId},
    failure::{Failure, Violation},
    mac::MacKey,
    reason::Reason,
    request_key::RequestKey,
    violations::Violations,
};
use haven_proto::identity::v1::UpdateAccountRequest;

use crate::{
    domain::{
        account::{AccountChange, AccountEdit},
        progress::{Stage, Step},
    },
    rpc::account::{
        account_access::{acting_as, parse_user_id},
        goals,
    },
};

/// The description of STAGE_NOT_NEXT.
pub(super) const STAGE_NOT_NEXT: &str = "account.stage must be the stage after the current one, up to 3";

/// The maximum number of paths in a mask: more than an account has fields. Duplicates are ignored, but not without limit.
const MAX_PATHS: usize = 32;

/// The fields of an account that no update changes.
const IMMUTABLE: [&str; 7] = [
    "id",
    "email",
    "create_time",
    "update_time",
    "version",
    "graduate_time",
    "last_active_time",
];

/// A parsed request.
#[derive(Debug)]
pub(super) struct AccountUpdate {
    pub(super) person: UserId,
    pub(super) change: AccountChange,
    pub(super) edit: AccountEdit,
}

/// The mutable fields that a mask names.
#[derive(Clone, Copy, Debug, Default)]
struct MaskedFields {
    goals: bool,
    stage: bool,
    graduated: bool,
}

impl AccountUpdate {
    /// Parses `request`. `at` is the time of the change.
    ///
    /// # Errors
    ///
    /// ACCESS_DENIED when the mask names a field that the caller may not change, before every other error. INVALID_FIELD with
    /// all violations. NOT_FOUND when the account is another person's.
    pub(super) fn parse(
        mut request: UpdateAccountRequest,
        call: &Call,
        request_mac: &MacKey,
        at: DateTime<Utc>,
    ) -> Result<Self, Failure> {
        let mut violations = Violations::new();
        let key = RequestKey::take(
            "UpdateAccount",
            &mut request,
            |request| &mut request.request_id,
            request_mac,
            &mut violations,
        );
        let paths = request.update_mask.unwrap_or_default().paths;
        let fields = MaskedFields::parse(&paths, &mut violations);
        let by_person = call.caller.user.is_some();
        if (by_person && (fields.stage || fields.graduated)) || (!by_person && fields.goals) {
            return Err(Failure::new(Reason::AccessDenied));
        }
        if request.account.is_none() {
            violations.required("account");
        }
        let account = request.account.unwrap_or_default();
        let person = parse_user_id(call, "account.id", &account.id, &mut violations);
        let change = match fields {
            MaskedFields { goals: true, .. } => {
                goals::parse("account.goals", &account.goals, &mut violations).map(AccountChange::Goals)
            }
            MaskedFields {
                stage: false,
                graduated: false,
                ..
            } => None,
            MaskedFields { stage, graduated, .. } => parse_step(
                stage.then_some(account.stage),
                graduated.then_some(account.graduated),
                &mut violations,
            )
            .map(AccountChange::Step),
        };
        if request.expected_version < 1 {
            violations.add(Violation::new(
                "expected_version",
                "REQUIRED",
                "expected_version is required and must be at least 1",
            ));
        }
        let change = violations.finish(change)?;
        acting_as(call, person)?;
        Ok(Self {
            person,
            change,
            edit: AccountEdit {
                expected_version: request.expected_version,
                at,
                request: key,
            },
        })
    }
}

impl MaskedFields {
    /// Parses the paths of a mask. An empty mask would mean all fields (AIP-134), and would reset fields that the client does
    /// not know: it is refused.
    fn parse(paths: &[String], violations: &mut Violations) -> Self {
        let mut fields = Self::default();
        match paths.len() {
            0 => violations.add(Violation::new(
                "update_mask",
                "REQUIRED",
                "update_mask must name the fields to change",
            )),
            1..=MAX_PATHS => {}
            _ => {
                violations.add(Violation::new(
                    "update_mask",
                    "TOO_MANY",
                    "update_mask must have at most 32 paths",
                ));
                return fields;
            }
        }
        for (position, path) in paths.iter().enumerate() {
            let mut violate = |name, description| {
                let field = format!("update_mask.paths[{position}]");
                violations.add(Violation::new(field, name, description));
            };
            match path.as_str() {
                "goals" => fields.goals = true,
                "stage" => fields.stage = true,
                "graduated" => fields.graduated = true,
                path if IMMUTABLE.contains(&path) => violate("IMMUTABLE", "The field cannot be changed"),
                _ => violate("UNKNOWN_FIELD", "An account has no such field"),
            }
        }
        fields
    }
}

/// Parses the step from the new values of the fields that the mask names.
fn parse_step(stage: Option<i32>, graduated: Option<bool>, violations: &mut Violations) -> Option<Step> {
    let mut violate = |field, name, description| {
        violations.add(Violation::new(field, name, description));
        None
    };
    match (stage, graduated) {
        (Some(_), Some(_)) => violate(
            "update_mask",
            "TWO_STEPS",
            "update_mask must not name both stage and graduated",
        ),
        (Some(number), None) => match Stage::new(number) {
            Some(stage) => Some(Step::To(stage)),
            None => violate("account.stage", "STAGE_NOT_NEXT", STAGE_NOT_NEXT),
        },
        (None, Some(true)) => Some(Step::Graduate),
        (None, _) => violate(
            "account.graduated",
            "NOT_TRUE",
            "account.graduated can only be set to true",
        ),
    }
}

#[cfg(test)]
mod tests {
    use std::time::Duration;

    use haven_platform::{
        call::{Caller, ServiceName, User},
        deadline::Deadline,
        mac::SecretKey,
    };
    use haven_proto::identity::v1::{Account, Goal};
    use prost_types::FieldMask;

    use super::*;
    use crate::domain::goals::Goals;

    const ID: &str = "01890a5d-ac96-774b-bcce-b302099a8057";
    const OTHER: &str = "01890a5d-ac96-774b-bcce-b302099a8058";

    fn call(user: Option<&str>, service: bool) -> Call {
        Call {
            caller: Caller {
                user: user.map(|id| User {
                    id: UserId::new(id.parse().unwrap()),
                    session_id: None,
                    foreign: false,
                    valid_until: None,
                }),
                service: service.then(|| ServiceName::new("backend")),
            },
            deadline: Deadline::after(Duration::from_secs(1)),
            network: None,
        }
    }

    fn request(paths: &[&str]) -> UpdateAccountRequest {
        UpdateAccountRequest {
            account: Some(Account {
                id: ID.into(),
                goals: vec![Goal::MakeFriends.into()],
                stage: 2,
                graduated: true,
                ..Account::default()
            }),
            update_mask: Some(FieldMask {
                paths: paths.iter().map(|path| (*path).to_owned()).collect(),
            }),
            expected_version: 1,
            request_id: ID.into(),
        }
    }

    fn parse(sent: UpdateAccountRequest, call: &Call) -> Result<AccountUpdate, Failure> {
        let key = MacKey::derive(&SecretKey::new(Box::new([7; 32])), "requests");
        AccountUpdate::parse(sent, call, &key, DateTime::UNIX_EPOCH)
    }

    fn wrong(sent: UpdateAccountRequest, call: &Call) -> Vec<(String, &'static str)> {
        let failure = parse(sent, call).unwrap_err();
        assert_eq!(failure.reason(), Reason::InvalidField);
        let violations = failure.all_violations().iter();
        violations.map(|one| (one.field.clone(), one.name)).collect()
    }

    fn one(field: &str, name: &'static str) -> Vec<(String, &'static str)> {
        vec![(field.to_owned(), name)]
    }

    #[test]
    fn a_person_changes_goals_and_a_service_changes_progress() {
        let (person, service) = (call(Some(ID), false), call(None, true));
        let through_a_service = call(Some(ID), true);
        let changes = |paths: &[&str], call: &Call| parse(request(paths), call).unwrap().change;
        let goals = Goals::new(vec![crate::domain::goals::Goal::MakeFriends]).unwrap();
        for person in [&person, &through_a_service] {
            assert_eq!(
                changes(&["goals", "goals"], person),
                AccountChange::Goals(goals.clone())
            );
        }
        let second = Step::To(Stage::new(2).unwrap());
        assert_eq!(changes(&["stage"], &service), AccountChange::Step(second));
        assert_eq!(
            changes(&["graduated"], &service),
            AccountChange::Step(Step::Graduate)
        );
        for (paths, call) in [
            (["stage"].as_slice(), &person),
            (&["graduated"], &person),
            (&["goals", "stage", "x"], &person),
            (&["stage"], &through_a_service),
            (&["goals"], &service),
            (&["goals", "stage"], &service),
        ] {
            let failure = parse(request(paths), call).unwrap_err();
            assert_eq!(failure.reason(), Reason::AccessDenied, "{paths:?}");
        }
    }

    #[test]
    fn a_person_may_omit_the_account_id() {
        let mut sent = request(&["goals"]);
        sent.account.as_mut().unwrap().id.clear();
        let person = parse(sent, &call(Some(ID), false)).unwrap().person;
        assert_eq!(person.to_string(), ID);
        let failure = parse(request(&["goals"]), &call(Some(OTHER), false)).unwrap_err();
        assert_eq!(failure.reason(), Reason::NotFound);
        let mut sent = request(&["stage"]);
        sent.account.as_mut().unwrap().id.clear();
        assert_eq!(wrong(sent, &call(None, true)), one("account.id", "REQUIRED"));
    }

    #[test]
    fn a_mask_names_mutable_fields() {
        let person = call(Some(ID), false);
        let paths = [
            "goals",
            "email",
            "nonsense",
            "Goals",
            "*",
            "account.goals",
            "version",
        ];
        let expected = [
            ("update_mask.paths[1]", "IMMUTABLE"),
            ("update_mask.paths[2]", "UNKNOWN_FIELD"),
            ("update_mask.paths[3]", "UNKNOWN_FIELD"),
            ("update_mask.paths[4]", "UNKNOWN_FIELD"),
            ("update_mask.paths[5]", "UNKNOWN_FIELD"),
            ("update_mask.paths[6]", "IMMUTABLE"),
        ];
        let expected = expected.map(|(field, name)| (field.to_owned(), name));
        assert_eq!(wrong(request(&paths), &person), expected);
        assert_eq!(wrong(request(&[]), &person), one("update_mask", "REQUIRED"));
        assert_eq!(
            wrong(request(&["x"; 33]), &person),
            one("update_mask", "TOO_MANY")
        );
    }

    #[test]
    fn everything_wrong_is_reported_at_once() {
        let person = call(Some(ID), false);
        let names = |sent| {
            let violations = wrong(sent, &person).into_iter();
            violations
                .map(|(field, name)| format!("{field} {name}"))
                .collect::<Vec<_>>()
        };
        let expected = [
            "request_id REQUIRED",
            "update_mask REQUIRED",
            "account REQUIRED",
            "expected_version REQUIRED",
        ];
        assert_eq!(names(UpdateAccountRequest::default()), expected);
        let mut sent = request(&["goals"]);
        sent.expected_version = -1;
        let account = sent.account.as_mut().unwrap();
        account.id = "x".into();
        account.goals = vec![1, 99];
        let expected = [
            "account.id NOT_A_UUID",
            "account.goals[1] UNKNOWN_VALUE",
            "expected_version REQUIRED",
        ];
        assert_eq!(names(sent), expected);
        let mut sent = request(&["goals"]);
        sent.account.as_mut().unwrap().goals.clear();
        assert_eq!(names(sent), ["account.goals REQUIRED"]);
    }

    #[test]
    fn a_step_is_to_an_existing_stage_or_graduates() {
        let service = call(None, true);
        for stage in [i32::MIN, -1, 0, 4, i32::MAX] {
            let mut sent = request(&["stage"]);
            sent.account.as_mut().unwrap().stage = stage;
            assert_eq!(wrong(sent, &service), one("account.stage", "STAGE_NOT_NEXT"));
        }
        let mut sent = request(&["graduated"]);
        sent.account.as_mut().unwrap().graduated = false;
        assert_eq!(wrong(sent, &service), one("account.graduated", "NOT_TRUE"));
        let both = request(&["stage", "graduated"]);
        assert_eq!(wrong(both, &service), one("update_mask", "TWO_STEPS"));
    }

    #[test]
    fn a_request_is_recognized_by_everything_but_its_id() {
        let person = call(Some(ID), false);
        let mac = |sent| parse(sent, &person).unwrap().edit.request.payload_mac;
        let first = mac(request(&["goals"]));
        let mut retry = request(&["goals"]);
        retry.request_id = OTHER.into();
        assert_eq!(mac(retry), first);
        let mut other = request(&["goals"]);
        other.expected_version = 2;
        assert_ne!(mac(other), first);
    }
}
