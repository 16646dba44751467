//! What somebody sends to change an account, parsed: which fields its mask names (AIP-134, AIP-161), and who may change
//! them.

use std::mem;

use chrono::{DateTime, Utc};
use haven_platform::{
    call::{Call, UserId},
    failure::{Failure, Violation},
    mac::MacKey,
    reason::Reason,
    violations::Violations,
};
use haven_proto::identity::v1::UpdateAccountRequest;
use prost::Message as _;

use crate::rpc::{
    account::get_account::{named_person, party},
    account::goals as parsing,
};
use crate::{
    domain::{
        goals::Goals,
        progress::{Stage, Step},
    },
    store::{account::update_account::Edit, request::RequestKey},
};

/// More than an account has fields: duplicates are ignored, but not without end.
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

/// A change that can be tried.
#[derive(Debug)]
pub(in crate::rpc) struct AccountUpdate {
    pub(in crate::rpc) person: UserId,
    pub(in crate::rpc) change: Change,
    pub(in crate::rpc) edit: Edit,
}

/// What is to change.
#[derive(Debug, PartialEq, Eq)]
pub(in crate::rpc) enum Change {
    /// What the person wants to work on: theirs to say.
    Goals(Goals),
    /// How far the person has come: a service's to say.
    Step(Step),
}

/// The fields that a mask names, of those that can change.
#[derive(Clone, Copy, Debug, Default)]
struct Named {
    goals: bool,
    stage: bool,
    graduated: bool,
}

impl AccountUpdate {
    /// Parses what `call` brings, to be made at the time `at`.
    ///
    /// # Errors
    ///
    /// ACCESS_DENIED when a field is somebody else's to change, whatever else is wrong. INVALID_FIELD with everything that
    /// is wrong. NOT_FOUND when the account is somebody else's.
    pub(in crate::rpc) fn parse(
        mut sent: UpdateAccountRequest,
        call: &Call,
        requests: &MacKey,
        at: DateTime<Utc>,
    ) -> Result<Self, Failure> {
        let mut violations = Violations::new();
        let request = RequestKey {
            id: violations.uuid("request_id", &mem::take(&mut sent.request_id)),
            payload_mac: requests.mac(&[b"UpdateAccount", &sent.encode_to_vec()]),
        };
        let paths = sent.update_mask.unwrap_or_default().paths;
        let named = Named::read(&paths, &mut violations);
        let by_person = call.caller.user.is_some();
        if (by_person && (named.stage || named.graduated)) || (!by_person && named.goals) {
            return Err(Failure::new(Reason::AccessDenied));
        }
        if sent.account.is_none() {
            let description = "The new values are required";
            violations.add(Violation::new("account", "REQUIRED", description));
        }
        let account = sent.account.unwrap_or_default();
        let person = named_person(call, "account.id", &account.id, &mut violations);
        let change = match named {
            Named { goals: true, .. } => {
                parsing::goals("account.goals", &account.goals, &mut violations).map(Change::Goals)
            }
            Named {
                stage: false,
                graduated: false,
                ..
            } => None,
            Named { stage, graduated, .. } => step(
                stage.then_some(account.stage),
                graduated.then_some(account.graduated),
                &mut violations,
            )
            .map(Change::Step),
        };
        if sent.expected_version < 1 {
            let description = "The version that the change is based on is required, 1 or more";
            violations.add(Violation::new("expected_version", "REQUIRED", description));
        }
        let change = violations.finish(change)?;
        party(call, person)?;
        Ok(Self {
            person,
            change,
            edit: Edit {
                expected_version: sent.expected_version,
                at,
                request,
            },
        })
    }
}

impl Named {
    /// An empty mask would mean every field (AIP-134), and take back what the caller does not know of: it is refused.
    fn read(paths: &[String], violations: &mut Violations) -> Self {
        let mut named = Self::default();
        match paths.len() {
            0 => violations.add(Violation::new(
                "update_mask",
                "REQUIRED",
                "The violations that change have to be named",
            )),
            1..=MAX_PATHS => {}
            _ => {
                let description = "An account has not so many violations";
                violations.add(Violation::new("update_mask", "TOO_MANY", description));
                return named;
            }
        }
        for (position, path) in paths.iter().enumerate() {
            let mut violate = |name, description| {
                let field = format!("update_mask.paths[{position}]");
                violations.add(Violation::new(field, name, description));
            };
            match path.as_str() {
                "goals" => named.goals = true,
                "stage" => named.stage = true,
                "graduated" => named.graduated = true,
                path if IMMUTABLE.contains(&path) => violate("IMMUTABLE", "This field cannot be changed"),
                _ => violate("UNKNOWN_FIELD", "An account has no such field"),
            }
        }
        named
    }
}

/// The step that the new values ask for, of those that the mask names.
fn step(stage: Option<i32>, graduated: Option<bool>, violations: &mut Violations) -> Option<Step> {
    let mut violate = |field, name, description| {
        violations.add(Violation::new(field, name, description));
        None
    };
    match (stage, graduated) {
        (Some(_), Some(_)) => violate(
            "update_mask",
            "TWO_STEPS",
            "One update moves the stage on or graduates, and not both",
        ),
        (Some(number), None) => match Stage::new(number) {
            Some(stage) => Some(Step::To(stage)),
            None => violate(
                "account.stage",
                "STAGE_NOT_NEXT",
                "A stage follows the one before it, up to the third",
            ),
        },
        (None, Some(true)) => Some(Step::Graduate),
        (None, _) => violate(
            "account.graduated",
            "NOT_TRUE",
            "This can become true, and stays it",
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
    fn a_person_says_goals_and_a_service_how_far_they_are() {
        let (person, service) = (call(Some(ID), false), call(None, true));
        let through_a_service = call(Some(ID), true);
        let changes = |paths: &[&str], call: &Call| parse(request(paths), call).unwrap().change;
        let goals = Goals::new(vec![crate::domain::goals::Goal::MakeFriends]).unwrap();
        for person in [&person, &through_a_service] {
            assert_eq!(changes(&["goals", "goals"], person), Change::Goals(goals.clone()));
        }
        let second = Step::To(Stage::new(2).unwrap());
        assert_eq!(changes(&["stage"], &service), Change::Step(second));
        assert_eq!(changes(&["graduated"], &service), Change::Step(Step::Graduate));
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
    fn whose_account_it_is_a_person_may_leave_out() {
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
    fn a_mask_names_fields_that_can_change() {
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
            let found = wrong(sent, &person).into_iter();
            found
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
    fn a_step_is_one_of_those_that_there_are() {
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
    fn a_request_is_known_by_all_of_its_content_but_its_id() {
        let person = call(Some(ID), false);
        let mac = |sent| parse(sent, &person).unwrap().edit.request.payload_mac;
        let first = mac(request(&["goals"]));
        let mut again = request(&["goals"]);
        again.request_id = OTHER.into();
        assert_eq!(mac(again), first);
        let mut other = request(&["goals"]);
        other.expected_version = 2;
        assert_ne!(mac(other), first);
    }
}
