//! The parsing of SignUp, which reports everything that is wrong with the request at once.

use std::mem;

use haven_platform::{
    failure::{Failure, Violation},
    mac::MacKey,
    reason::Reason,
    request_key::RequestKey,
    violations::{NO_VALUE, Violations},
};
use haven_proto::identity::v1::{ConsentGrant, SignUpRequest};
use secrecy::SecretString;

use crate::{
    domain::{
        consent::{Consent, MAX_CONSENTS, RequiredConsents},
        email::EmailAddress,
        goals::Goals,
        password::{Password, PasswordRule},
    },
    rpc::{account::goals, email},
};

/// The name of the violation when a required consent is missing.
const CONSENT_REQUIRED: &str = "CONSENT_REQUIRED";

/// A partly parsed request: its password is not checked yet.
#[derive(Debug)]
pub(super) struct SignUpForm {
    request: RequestKey,
    password: SecretString,
    email: Option<EmailAddress>,
    goals: Option<Goals>,
    consents: Vec<Consent>,
    required: String,
    violations: Violations,
}

/// A parsed request.
#[derive(Clone, Debug)]
pub(super) struct SignUp {
    pub(super) request: RequestKey,
    pub(super) email: EmailAddress,
    pub(super) password: Password,
    pub(super) goals: Goals,
    pub(super) consents: Vec<Consent>,
}

impl SignUpForm {
    /// Parses everything but the password, which is checked in the hashing queue.
    pub(super) fn parse(
        mut request: SignUpRequest,
        required: &RequiredConsents,
        request_mac: &MacKey,
    ) -> Self {
        let mut violations = Violations::new();
        let password = SecretString::from(mem::take(&mut request.password));
        let key = RequestKey::take(
            "SignUp",
            &mut request,
            |request| &mut request.request_id,
            request_mac,
            &mut violations,
        );
        let email = email::parse(&request.email, &mut violations);
        let goals = goals::parse("goals", &request.goals, &mut violations);
        let consents = parse_consents(&request.consents, &mut violations);
        violations.extend(required.missing_in(&consents).map(|missing| {
            let (document, version) = (missing.document(), missing.version());
            let description = format!("Consent to `{document}` in version `{version}` is required");
            Violation::new("consents", CONSENT_REQUIRED, description)
        }));
        Self {
            request: key,
            password,
            email,
            goals,
            consents,
            required: required.to_string(),
            violations,
        }
    }

    /// The email address, for the rate limit that is checked before other errors are reported. `None` when it is malformed.
    pub(super) fn email(&self) -> Option<&EmailAddress> {
        self.email.as_ref()
    }

    /// Checks the password against the policy, and reports all violations of the request. Computes as long as
    /// [`Password::choose`] does.
    ///
    /// # Errors
    ///
    /// PASSWORD_POLICY, EMAIL_INVALID or CONSENT_REQUIRED when all violations are of that kind; otherwise INVALID_FIELD.
    pub(super) fn check(self) -> Result<SignUp, Failure> {
        let mut violations = self.violations;
        let password = Password::choose(self.password, self.email.as_ref())
            .map_err(|broken| {
                let violation =
                    |rule: PasswordRule| Violation::new("password", rule.name(), rule.description());
                violations.extend(broken.into_iter().map(violation));
            })
            .ok();
        let mut lacks_consent = false;
        violations
            .check_as(|violations| {
                lacks_consent = violations
                    .iter()
                    .any(|violation| violation.name == CONSENT_REQUIRED);
                reason(violations)
            })
            .map_err(|failure| match lacks_consent {
                true => failure.metadata("required_consents", self.required),
                false => failure,
            })?;
        match (self.email, password, self.goals) {
            (Some(email), Some(password), Some(goals)) => Ok(SignUp {
                request: self.request,
                email,
                password,
                goals,
                consents: self.consents,
            }),
            _ => Err(Failure::internal(NO_VALUE)),
        }
    }
}

/// Parses the consents. Duplicates count once; of a document in two versions, only the first one is kept.
fn parse_consents(grants: &[ConsentGrant], violations: &mut Violations) -> Vec<Consent> {
    let mut consents: Vec<Consent> = Vec::new();
    if grants.len() > MAX_CONSENTS {
        violations.add(Violation::new(
            "consents",
            "TOO_MANY",
            "consents must have at most 20 items",
        ));
        return consents;
    }
    for (position, grant) in grants.iter().enumerate() {
        match Consent::parse(&grant.document, &grant.document_version) {
            Ok(consent) if consents.contains(&consent) => {}
            Ok(consent)
                if consents
                    .iter()
                    .any(|other| other.document() == consent.document()) =>
            {
                violations.add(Violation::new(
                    format!("consents[{position}].document"),
                    "DUPLICATE",
                    "A document must be listed in one version only",
                ));
            }
            Ok(consent) => consents.push(consent),
            Err(broken) => violations.extend(broken.into_iter().map(|rule| {
                let field = format!("consents[{position}].{}", rule.field());
                Violation::new(field, rule.name(), rule.description())
            })),
        }
    }
    consents
}

/// The most specific reason that covers all violations.
fn reason(violations: &[Violation]) -> Reason {
    let all = |matches: fn(&Violation) -> bool| violations.iter().all(matches);
    if all(|violation| violation.field == "password") {
        Reason::PasswordPolicy
    } else if all(|violation| violation.field == "email") {
        Reason::EmailInvalid
    } else if all(|violation| violation.name == CONSENT_REQUIRED) {
        Reason::ConsentRequired
    } else {
        Reason::InvalidField
    }
}

#[cfg(test)]
mod tests {
    use haven_platform::mac::SecretKey;
    use haven_proto::identity::v1 as proto;

    use super::*;
    use crate::domain::goals::Goal;

    fn grant(document: &str, version: &str) -> proto::ConsentGrant {
        proto::ConsentGrant {
            document: document.into(),
            document_version: version.into(),
        }
    }

    fn request() -> SignUpRequest {
        SignUpRequest {
            email: "ada@example.org".into(),
            password: "kX9vQ2wZ".into(),
            goals: vec![
                proto::Goal::DatingSkills.into(),
                proto::Goal::MakeFriends.into(),
                proto::Goal::DatingSkills.into(),
            ],
            consents: vec![grant("terms", "2026-01"), grant("terms", "2026-01")],
            request_id: "01890a5d-ac96-774b-bcce-b302099a8057".into(),
        }
    }

    fn form(sent: SignUpRequest) -> SignUpForm {
        let key = MacKey::derive(&SecretKey::new(Box::new([7; 32])), "requests");
        SignUpForm::parse(sent, &"terms=2026-01".parse().unwrap(), &key)
    }

    fn wrong(sent: SignUpRequest) -> (Reason, Vec<(String, &'static str)>) {
        let failure = form(sent).check().unwrap_err();
        let found = failure
            .all_violations()
            .iter()
            .map(|one| (one.field.clone(), one.name))
            .collect();
        (failure.reason(), found)
    }

    #[test]
    fn a_valid_request_is_parsed() {
        let sign_up = form(request()).check().unwrap();
        assert_eq!(
            sign_up.goals.iter().collect::<Vec<_>>(),
            [Goal::MakeFriends, Goal::DatingSkills]
        );
        assert_eq!(sign_up.consents.len(), 1);
        assert_eq!(sign_up.email.entered(), "ada@example.org");
    }

    #[test]
    fn everything_wrong_is_reported_at_once() {
        let sent = SignUpRequest {
            email: "a..b@localhost".into(),
            password: "short".into(),
            goals: vec![1, 99, 0],
            consents: vec![grant("", "1"), grant("news", "1"), grant("news", "2")],
            request_id: "x".into(),
        };
        let (reason, found) = wrong(sent);
        assert_eq!(reason, Reason::InvalidField);
        let found: Vec<_> = found
            .iter()
            .map(|(field, name)| (field.as_str(), *name))
            .collect();
        let expected = [
            ("request_id", "NOT_A_UUID"),
            ("email", "LOCAL_PART_DOTS"),
            ("email", "DOMAIN_WITHOUT_DOT"),
            ("goals[1]", "UNKNOWN_VALUE"),
            ("goals[2]", "UNKNOWN_VALUE"),
            ("consents[0].document", "DOCUMENT_INVALID"),
            ("consents[2].document", "DUPLICATE"),
            ("consents", "CONSENT_REQUIRED"),
            ("password", "TOO_SHORT"),
            ("password", "NO_UPPERCASE"),
            ("password", "NO_DIGIT"),
            ("password", "GUESSABLE"),
        ];
        assert_eq!(found, expected);
    }

    #[test]
    fn violations_of_one_kind_have_their_own_reason() {
        let only = |sent| wrong(sent).0;
        assert_eq!(
            only(SignUpRequest {
                password: "short".into(),
                ..request()
            }),
            Reason::PasswordPolicy
        );
        assert_eq!(
            only(SignUpRequest {
                email: String::new(),
                ..request()
            }),
            Reason::EmailInvalid
        );
        assert_eq!(
            only(SignUpRequest {
                consents: vec![grant("terms", "2025-01")],
                ..request()
            }),
            Reason::ConsentRequired
        );
        assert_eq!(
            only(SignUpRequest {
                goals: vec![],
                ..request()
            }),
            Reason::InvalidField
        );
        assert_eq!(
            only(SignUpRequest {
                goals: vec![1; 65],
                ..request()
            }),
            Reason::InvalidField
        );
        let consents = vec![grant("terms", "2026-01"); 21];
        assert_eq!(
            wrong(SignUpRequest {
                consents,
                ..request()
            })
            .1[0],
            ("consents".into(), "TOO_MANY")
        );
    }

    #[test]
    fn a_request_is_recognized_by_everything_but_its_id_and_its_password() {
        let mac = |sent| form(sent).request.payload_mac;
        let first = mac(request());
        assert_eq!(
            first,
            mac(SignUpRequest {
                password: "other".into(),
                request_id: "other".into(),
                ..request()
            })
        );
        assert_ne!(
            first,
            mac(SignUpRequest {
                email: "Ada@example.org".into(),
                ..request()
            })
        );
        assert_ne!(
            first,
            mac(SignUpRequest {
                goals: vec![1],
                ..request()
            })
        );
    }

    #[test]
    fn debug_output_shows_no_private_values() {
        let (parsed, sign_up) = (
            format!("{:?}", form(request())),
            format!("{:?}", form(request()).check().unwrap()),
        );
        for shown in [parsed, sign_up] {
            assert!(!shown.contains("kX9vQ2wZ") && !shown.contains("ada@"), "{shown}");
        }
    }
}
