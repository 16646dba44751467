use std::time::Duration;

use chrono::DateTime;
use haven_platform::{
    call::{Caller, ServiceName, User, UserId},
    deadline::Deadline,
    mac::{MacKeys, SecretKeys},
    network::NetworkSource,
};
use haven_proto::identity::v1::{Account, Goal};
use prost_types::FieldMask;

use super::*;
use crate::domain::{
    goals::Goals,
    progress::{Stage, Step},
};

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
            ..Caller::default()
        },
        deadline: Deadline::after(Duration::from_secs(1)),
        network: None,
        network_source: NetworkSource::Client,
    }
}

fn valid_request(paths: &[&str]) -> UpdateAccountRequest {
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

fn parse(request: UpdateAccountRequest, call: &Call) -> Result<AccountUpdate, Failure> {
    let key = MacKeys::derive(&SecretKeys::one([7; 32]), "requests");
    AccountUpdate::parse(request, call, &key, DateTime::UNIX_EPOCH)
}

fn violations_of(request: UpdateAccountRequest, call: &Call) -> Vec<(String, &'static str)> {
    let failure = parse(request, call).unwrap_err();
    assert_eq!(failure.reason(), Reason::InvalidField);
    let violations = failure.all_violations().iter();
    violations.map(|one| (one.field.clone(), one.name)).collect()
}

fn violation(field: &str, name: &'static str) -> Vec<(String, &'static str)> {
    vec![(field.to_owned(), name)]
}

#[test]
fn a_person_changes_goals_and_a_service_changes_progress() {
    let (person, service) = (call(Some(ID), false), call(None, true));
    let through_a_service = call(Some(ID), true);
    let changes = |paths: &[&str], call: &Call| parse(valid_request(paths), call).unwrap().change;
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
        let failure = parse(valid_request(paths), call).unwrap_err();
        assert_eq!(failure.reason(), Reason::AccessDenied, "{paths:?}");
    }
}

#[test]
fn a_person_may_omit_the_account_id() {
    let mut request = valid_request(&["goals"]);
    request.account.as_mut().unwrap().id.clear();
    let person = parse(request, &call(Some(ID), false)).unwrap().person;
    assert_eq!(person.to_string(), ID);
    let failure = parse(valid_request(&["goals"]), &call(Some(OTHER), false)).unwrap_err();
    assert_eq!(failure.reason(), Reason::NotFound);
    let mut request = valid_request(&["stage"]);
    request.account.as_mut().unwrap().id.clear();
    assert_eq!(
        violations_of(request, &call(None, true)),
        violation("account.id", "REQUIRED")
    );
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
    assert_eq!(violations_of(valid_request(&paths), &person), expected);
    assert_eq!(
        violations_of(valid_request(&[]), &person),
        violation("update_mask", "REQUIRED")
    );
    assert_eq!(
        violations_of(valid_request(&["x"; 33]), &person),
        violation("update_mask", "TOO_MANY")
    );
}

#[test]
fn everything_wrong_is_reported_at_once() {
    let person = call(Some(ID), false);
    let names = |request| {
        let violations = violations_of(request, &person).into_iter();
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
    let mut request = valid_request(&["goals"]);
    request.expected_version = -1;
    let account = request.account.as_mut().unwrap();
    account.id = "x".into();
    account.goals = vec![1, 99];
    let expected = [
        "account.id NOT_A_UUID",
        "account.goals[1] UNKNOWN_VALUE",
        "expected_version REQUIRED",
    ];
    assert_eq!(names(request), expected);
    let mut request = valid_request(&["goals"]);
    request.account.as_mut().unwrap().goals.clear();
    assert_eq!(names(request), ["account.goals REQUIRED"]);
}

#[test]
fn a_step_is_to_an_existing_stage_or_graduates() {
    let service = call(None, true);
    for stage in [i32::MIN, -1, 0, 4, i32::MAX] {
        let mut request = valid_request(&["stage"]);
        request.account.as_mut().unwrap().stage = stage;
        assert_eq!(
            violations_of(request, &service),
            violation("account.stage", "STAGE_NOT_NEXT")
        );
    }
    let mut request = valid_request(&["graduated"]);
    request.account.as_mut().unwrap().graduated = false;
    assert_eq!(
        violations_of(request, &service),
        violation("account.graduated", "NOT_TRUE")
    );
    let both = valid_request(&["stage", "graduated"]);
    assert_eq!(
        violations_of(both, &service),
        violation("update_mask", "TWO_STEPS")
    );
}

#[test]
fn a_request_is_recognized_by_everything_but_its_id() {
    let person = call(Some(ID), false);
    let mac = |request| parse(request, &person).unwrap().edit.request.payload_macs;
    let first = mac(valid_request(&["goals"]));
    let mut retry = valid_request(&["goals"]);
    retry.request_id = OTHER.into();
    assert_eq!(mac(retry), first);
    let mut other = valid_request(&["goals"]);
    other.expected_version = 2;
    assert_ne!(mac(other), first);
}
