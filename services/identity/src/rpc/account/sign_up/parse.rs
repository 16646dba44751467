//! What somebody sends to get an account, parsed. Everything that is wrong with it is reported at once.

use std::mem;

use haven_platform::{
    failure::{Failure, Violation},
    mac::MacKey,
    reason::Reason,
    violations::{NO_VALUE, Violations},
};
use haven_proto::identity::v1::SignUpRequest;
use prost::Message as _;
use secrecy::SecretString;
use zeroize::Zeroizing;

use crate::rpc::account::goals as parsing;
use crate::{
    domain::{
        consent::{Consent, RequiredConsents},
        email::EmailAddress,
        goals::Goals,
        password::{Password, PasswordRule},
    },
    store::request::RequestKey,
};

/// The name of what a sign-up lacks that would need only consent.
const CONSENT_REQUIRED: &str = "CONSENT_REQUIRED";

/// A sign-up, all but its password parsed.
#[derive(Debug)]
pub(in crate::rpc) struct SignUpForm {
    request: RequestKey,
    password: SecretString,
    email: Option<EmailAddress>,
    goals: Option<Goals>,
    consents: Vec<Consent>,
    required: String,
    violations: Violations,
}

/// A sign-up that can be tried.
#[derive(Clone, Debug)]
pub(in crate::rpc) struct SignUp {
    pub(in crate::rpc) request: RequestKey,
    pub(in crate::rpc) email: EmailAddress,
    pub(in crate::rpc) password: Password,
    pub(in crate::rpc) goals: Goals,
    pub(in crate::rpc) consents: Vec<Consent>,
}

impl SignUpForm {
    /// Parses everything but the password, which takes a turn in the queue for hashing.
    pub(in crate::rpc) fn read(
        mut sent: SignUpRequest,
        required: &RequiredConsents,
        requests: &MacKey,
    ) -> Self {
        let mut violations = Violations::new();
        let password = SecretString::from(mem::take(&mut sent.password));
        let id = violations.uuid("request_id", &mem::take(&mut sent.request_id));
        let payload = Zeroizing::new(sent.encode_to_vec());
        let request = RequestKey {
            id,
            payload_mac: requests.mac(&[b"SignUp", &payload]),
        };
        let email = parsing::email(&sent.email, &mut violations);
        let goals = parsing::goals("goals", &sent.goals, &mut violations);
        let consents = parsing::consents(&sent.consents, &mut violations);
        violations.extend(required.missing_in(&consents).map(|missing| {
            let (document, version) = (missing.document(), missing.version());
            let description = format!("Consent to `{document}` in its version `{version}` is required");
            Violation::new("consents", CONSENT_REQUIRED, description)
        }));
        Self {
            request,
            password,
            email,
            goals,
            consents,
            required: required.to_string(),
            violations,
        }
    }

    /// The email address, where it can be one: a limit is about it before anything else is.
    pub(in crate::rpc) fn email(&self) -> Option<&EmailAddress> {
        self.email.as_ref()
    }

    /// Checks the password against the policy, and says everything that is wrong with the whole. Computes, as
    /// [`Password::choose`] does.
    ///
    /// # Errors
    ///
    /// PASSWORD_POLICY, EMAIL_INVALID or CONSENT_REQUIRED, when that is all that is wrong; otherwise INVALID_FIELD.
    pub(in crate::rpc) fn check(self) -> Result<SignUp, Failure> {
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

/// The narrowest reason that covers every violation.
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

    fn read(sent: SignUpRequest) -> SignUpForm {
        let key = MacKey::derive(&SecretKey::new(Box::new([7; 32])), "requests");
        SignUpForm::read(sent, &"terms=2026-01".parse().unwrap(), &key)
    }

    fn wrong(sent: SignUpRequest) -> (Reason, Vec<(String, &'static str)>) {
        let failure = read(sent).check().unwrap_err();
        let found = failure
            .all_violations()
            .iter()
            .map(|one| (one.field.clone(), one.name))
            .collect();
        (failure.reason(), found)
    }

    #[test]
    fn a_good_one_is_parsed() {
        let sign_up = read(request()).check().unwrap();
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
    fn one_kind_of_violation_has_its_own_reason() {
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
    fn a_request_is_known_by_all_of_its_content_but_its_id_and_its_password() {
        let mac = |sent| read(sent).request.payload_mac;
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
    fn what_is_private_is_not_shown() {
        let (form, sign_up) = (
            format!("{:?}", read(request())),
            format!("{:?}", read(request()).check().unwrap()),
        );
        for shown in [form, sign_up] {
            assert!(!shown.contains("kX9vQ2wZ") && !shown.contains("ada@"), "{shown}");
        }
    }
}
