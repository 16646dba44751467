//! The parsing of UpdateAccount: the fields that the mask names (AIP-134, AIP-161), and who may change them.

use chrono::{DateTime, Utc};
use haven_platform::{
    call::{Call, UserId},
    failure::{Failure, Violation},
    mac::MacKeys,
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

/// A parsed UpdateAccount request.
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
    /// ACCESS_DENIED when the mask names a field that the caller may not change, before every other error.
    /// INVALID_FIELD with all violations. NOT_FOUND when the account is another person's.
    pub(super) fn parse(
        mut request: UpdateAccountRequest,
        call: &Call,
        request_mac: &MacKeys,
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
    /// Parses the paths of a mask. An empty mask would mean all fields (AIP-134), and would reset fields that the
    /// client does not know: it is refused.
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
