//! The parsing of SignUp, which reports everything that is wrong with the request at once.

use std::mem;

use haven_platform::{
    failure::{Failure, Violation},
    mac::MacKeys,
    reason::Reason,
    request_key::RequestKey,
    violations::{NO_VALUE, Violations},
};
use haven_proto::identity::v1::{ConsentGrant, SignUpRequest};
use secrecy::SecretString;

use crate::{
    domain::{
        consent::{Consent, MAX_CONSENTS, RequiredConsents},
        consent_versions::ConsentVersions,
        email::EmailAddress,
        goals::Goals,
        password::{Password, PasswordRule},
    },
    rpc::{
        account::{consent::unknown_version, goals},
        email,
    },
};

/// The name of the violation when a required consent is missing.
const CONSENT_REQUIRED: &str = "CONSENT_REQUIRED";

/// A partly parsed request: its password is not checked yet.
#[derive(Debug)]
pub(super) struct SignUpForm {
    pub(super) request: RequestKey,
    password: SecretString,
    /// The address as it was sent.
    entered: SecretString,
    email: Option<EmailAddress>,
    goals: Option<Goals>,
    consents: Vec<Consent>,
    required: String,
    violations: Violations,
}

/// A request with the content of one that created an account, apart from the password.
#[derive(Debug)]
pub(super) struct RepeatedSignUp {
    /// The address as the account has it.
    pub(super) email: SecretString,
    pub(super) password: Password,
    pub(super) goals: Goals,
}

/// A parsed SignUp request.
#[derive(Clone, Debug)]
pub(super) struct SignUp {
    pub(super) request: RequestKey,
    pub(super) email: EmailAddress,
    pub(super) password: Password,
    pub(super) goals: Goals,
    pub(super) consents: Vec<Consent>,
}

impl SignUpForm {
    /// Parses everything but the password, which is checked in the queue of the estimator.
    pub(super) fn parse(
        mut request: SignUpRequest,
        required: &RequiredConsents,
        versions: &ConsentVersions,
        request_mac: &MacKeys,
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
        let consents = parse_consents(&request.consents, versions, &mut violations);
        violations.extend(required.missing_in(&consents).map(|missing| {
            let (document, version) = (missing.document(), missing.version());
            let description = format!("Consent to `{document}` in version `{version}` is required");
            Violation::new("consents", CONSENT_REQUIRED, description)
        }));
        Self {
            request: key,
            password,
            entered: request.email.into(),
            email,
            goals,
            consents,
            required: required.to_string(),
            violations,
        }
    }

    /// Takes what is needed to answer a retry. The rules for new accounts do not apply: they may have changed since.
    ///
    /// # Errors
    ///
    /// REQUEST_ID_REUSED when the content cannot be that of a request that created an account.
    pub(super) fn repeated(self) -> Result<RepeatedSignUp, Failure> {
        let entered = self.entered;
        match (Password::present(self.password), self.goals) {
            (Ok(password), Some(goals)) => Ok(RepeatedSignUp {
                email: self.email.map_or(entered, |email| email.entered().into()),
                password,
                goals,
            }),
            _ => Err(Failure::new(Reason::RequestIdReused)),
        }
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
                true => failure.metadata_list("required_consents", self.required.split(',')),
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
fn parse_consents(
    grants: &[ConsentGrant],
    versions: &ConsentVersions,
    violations: &mut Violations,
) -> Vec<Consent> {
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
            Ok(consent) => {
                if !versions.accept(&consent) {
                    let field = format!("consents[{position}].document_version");
                    violations.add(unknown_version(field));
                }
                consents.push(consent);
            }
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
