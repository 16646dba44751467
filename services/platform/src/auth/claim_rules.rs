//! The rules for the claims of an issuer's tokens: which audience and which role they must have, and how their subject
//! becomes a user.

use std::fmt;

use serde_json::{Map, Value};
use uuid::Uuid;

use super::{
    subject::Subject,
    token_problem::{ClaimProblem, TokenProblem},
};

/// The role in a user's token, as Supabase and PostgREST use it.
pub const ROLE: &str = "authenticated";

/// The claims whose text is a list, with spaces between its elements (RFC 8693, section 4.2; `scp` is Entra's).
const LISTS: [&str; 2] = ["scope", "scp"];

/// The path of a claim: its name, or for a nested one the names from the outside in.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct ClaimPath(Vec<String>);

/// The role that tokens must have.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct RoleRule {
    /// The claim with the role or the roles: a text or an array of texts; `scope` and `scp` are lists.
    pub claim: ClaimPath,
    /// The accepted roles, of which a token must have one.
    pub accepted: Vec<String>,
}

/// The rules for the claims of an issuer's tokens, beside those that hold for all: that they have not expired, and are
/// not from the future.
#[derive(Clone, Debug, PartialEq)]
pub struct ClaimRules {
    /// The claim that names the audience: a text or an array of texts.
    pub audience_claim: ClaimPath,
    /// The accepted audiences, of which a token must have one.
    pub audiences: Vec<String>,
    /// The role that tokens must have; `None` when the issuer's tokens have none.
    pub role: Option<RoleRule>,
    /// Claims that must have exactly these values.
    pub required: Vec<(String, Value)>,
    /// The claim that identifies the user.
    pub subject_claim: ClaimPath,
    /// How that claim becomes the id of a user.
    pub subject: Subject,
}

impl ClaimPath {
    /// Returns the path of the claim `name`, which is not nested.
    #[must_use]
    pub fn of(name: &str) -> Self {
        Self(vec![name.to_owned()])
    }

    /// Returns the path with these names, from the outside in. `None` when there are none, or one is empty.
    #[must_use]
    pub fn nested(names: Vec<String>) -> Option<Self> {
        let is_complete = !names.is_empty() && names.iter().all(|name| !name.is_empty());
        is_complete.then_some(Self(names))
    }

    /// Returns whether the claim's text is a list with spaces between its elements.
    #[must_use]
    pub fn is_list(&self) -> bool {
        matches!(&self.0[..], [name] if LISTS.contains(&name.as_str()))
    }

    /// Returns the value of the claim; `None` without one.
    fn find<'a>(&self, claims: &'a Map<String, Value>) -> Option<&'a Value> {
        let (first, rest) = self.0.split_first()?;
        rest.iter()
            .try_fold(claims.get(first)?, |value, name| value.get(name))
    }

    /// Returns whether the claim is, or contains, one of `accepted`.
    fn has_one_of(&self, claims: &Map<String, Value>, accepted: &[String]) -> bool {
        let is_accepted = |text: &str| accepted.iter().any(|accepted| accepted == text);
        match self.find(claims) {
            Some(Value::String(list)) if self.is_list() => list.split(' ').any(is_accepted),
            Some(Value::String(text)) => is_accepted(text),
            Some(Value::Array(several)) => several.iter().filter_map(Value::as_str).any(is_accepted),
            _ => false,
        }
    }
}

impl fmt::Display for ClaimPath {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(&self.0.join("."))
    }
}

impl ClaimRules {
    /// Returns the rules of Haven's own tokens, and of issuers that issue tokens of the same shape, such as Supabase.
    #[must_use]
    pub fn standard(audience: &str) -> Self {
        Self {
            audience_claim: ClaimPath::of("aud"),
            audiences: vec![audience.to_owned()],
            role: Some(RoleRule {
                claim: ClaimPath::of("role"),
                accepted: vec![ROLE.to_owned()],
            }),
            required: Vec::new(),
            subject_claim: ClaimPath::of("sub"),
            subject: Subject::Uuid,
        }
    }

    /// Checks that a token is for an accepted audience.
    ///
    /// # Errors
    ///
    /// AUDIENCE.
    pub(super) fn check_audience(&self, claims: &Map<String, Value>) -> Result<(), TokenProblem> {
        match self.audience_claim.has_one_of(claims, &self.audiences) {
            true => Ok(()),
            false => Err(TokenProblem::Audience(ClaimProblem::new(
                self.audience_claim.to_string(),
                "must be, or contain, an accepted audience",
            ))),
        }
    }

    /// Checks the other claims of a token of `issuer`, and returns the id of its user.
    ///
    /// # Errors
    ///
    /// CLAIMS.
    pub(super) fn user(&self, issuer: &str, claims: &Map<String, Value>) -> Result<Uuid, TokenProblem> {
        if let Some(role) = &self.role
            && !role.claim.has_one_of(claims, &role.accepted)
        {
            return Err(TokenProblem::Claims(ClaimProblem::new(
                role.claim.to_string(),
                "must be, or contain, an accepted role",
            )));
        }
        if let Some((name, _)) = self
            .required
            .iter()
            .find(|(name, value)| claims.get(name) != Some(value))
        {
            let problem = ClaimProblem::new(name, "must have the value that this issuer's tokens need");
            return Err(TokenProblem::Claims(problem));
        }
        let subject = self.subject_claim.find(claims).and_then(Value::as_str);
        self.subject
            .user(issuer, subject)
            .map_err(|rule| TokenProblem::Claims(ClaimProblem::new(self.subject_claim.to_string(), rule)))
    }
}

#[cfg(test)]
mod tests {
    use serde_json::json;

    use super::*;

    fn rules() -> ClaimRules {
        ClaimRules::standard("us")
    }

    fn path(names: &[&str]) -> ClaimPath {
        ClaimPath::nested(names.iter().map(|name| (*name).to_owned()).collect()).unwrap()
    }

    fn role(claim: ClaimPath, accepted: &[&str]) -> ClaimRules {
        let accepted = accepted.iter().map(|role| (*role).to_owned()).collect();
        let role = Some(RoleRule { claim, accepted });
        ClaimRules { role, ..rules() }
    }

    /// Returns the claim and the rule for which `claims` are refused, with a `sub` that is a UUID.
    fn refusal(rules: &ClaimRules, mut claims: Value) -> Option<(String, &'static str)> {
        if claims.get("sub").is_none() {
            claims["sub"] = json!(Uuid::from_u128(1));
        }
        match rules.user("issuer", claims.as_object().unwrap()) {
            Ok(_) => None,
            Err(TokenProblem::Claims(problem)) => Some((problem.claim, problem.rule)),
            Err(other) => panic!("{other:?}"),
        }
    }

    #[test]
    fn a_path_has_at_least_one_name() {
        for names in [vec![], vec![String::new()], vec!["a".to_owned(), String::new()]] {
            assert_eq!(ClaimPath::nested(names), None);
        }
        assert_eq!(path(&["realm_access", "roles"]).to_string(), "realm_access.roles");
    }

    #[test]
    fn a_role_is_a_text_or_one_of_several() {
        let refused = |claim: &str| Some((claim.to_owned(), "must be, or contain, an accepted role"));
        let flat = role(ClaimPath::of("https://haven.example/roles"), &["member", "guest"]);
        for value in [json!("member"), json!("guest"), json!(["other", "guest"])] {
            assert_eq!(
                refusal(&flat, json!({"https://haven.example/roles": value})),
                None
            );
        }
        for value in [
            json!("other"),
            json!("member guest"),
            json!("members"),
            json!([]),
            json!([["member"]]),
            json!({"member": true}),
            json!(true),
            json!(null),
        ] {
            let claims = json!({"https://haven.example/roles": value});
            assert_eq!(
                refusal(&flat, claims),
                refused("https://haven.example/roles"),
                "{value}"
            );
        }
        let nested = role(path(&["realm_access", "roles"]), &["member"]);
        assert_eq!(
            refusal(&nested, json!({"realm_access": {"roles": ["member"]}})),
            None
        );
        for claims in [
            json!({"realm_access.roles": ["member"]}),
            json!({"realm_access": ["member"]}),
            json!({"realm_access": {"role": ["member"]}}),
        ] {
            assert_eq!(refusal(&nested, claims), refused("realm_access.roles"));
        }
    }

    #[test]
    fn a_scope_is_a_list_with_spaces() {
        for name in ["scope", "scp"] {
            let rules = role(ClaimPath::of(name), &["haven.use"]);
            assert_eq!(refusal(&rules, json!({name: "openid haven.use"})), None);
            assert_eq!(refusal(&rules, json!({name: ["openid", "haven.use"]})), None);
            for value in [json!("openid haven.used"), json!(""), json!(["openid haven.use"])] {
                assert!(refusal(&rules, json!({name: value})).is_some(), "{value}");
            }
        }
    }

    #[test]
    fn required_claims_have_exactly_their_value() {
        let rules = ClaimRules {
            role: None,
            required: vec![
                ("typ".to_owned(), json!("Bearer")),
                ("email_verified".to_owned(), json!(true)),
            ],
            ..rules()
        };
        assert_eq!(
            refusal(&rules, json!({"typ": "Bearer", "email_verified": true})),
            None
        );
        let refused = |claim: &str| {
            Some((
                claim.to_owned(),
                "must have the value that this issuer's tokens need",
            ))
        };
        assert_eq!(
            refusal(&rules, json!({"typ": "ID", "email_verified": true})),
            refused("typ")
        );
        for value in [json!("true"), json!(1), json!(false)] {
            let claims = json!({"typ": "Bearer", "email_verified": value});
            assert_eq!(refusal(&rules, claims), refused("email_verified"));
        }
        assert_eq!(
            refusal(&rules, json!({"typ": "Bearer"})),
            refused("email_verified")
        );
    }

    #[test]
    fn the_subject_may_be_another_claim() {
        let rules = ClaimRules {
            role: None,
            subject_claim: ClaimPath::of("oid"),
            ..rules()
        };
        let claims = json!({"sub": "pairwise", "oid": Uuid::from_u128(7)});
        assert_eq!(
            rules.user("issuer", claims.as_object().unwrap()),
            Ok(Uuid::from_u128(7))
        );
        assert_eq!(
            refusal(&rules, json!({"sub": Uuid::from_u128(7)})),
            Some(("oid".to_owned(), "must be a UUID"))
        );
    }

    #[test]
    fn an_audience_is_a_text_or_one_of_several() {
        let rules = ClaimRules {
            audience_claim: ClaimPath::of("azp"),
            audiences: vec!["app".to_owned(), "web".to_owned()],
            ..rules()
        };
        let check = |claims: Value| rules.check_audience(claims.as_object().unwrap());
        for accepted in [json!("app"), json!("web"), json!(["other", "web"])] {
            assert_eq!(check(json!({"azp": accepted})), Ok(()));
        }
        for refused in [
            json!("other"),
            json!(""),
            json!([]),
            json!("app web"),
            json!(null),
        ] {
            let problem = ClaimProblem::new("azp", "must be, or contain, an accepted audience");
            assert_eq!(
                check(json!({"azp": refused, "aud": "app"})),
                Err(TokenProblem::Audience(problem))
            );
        }
    }
}
