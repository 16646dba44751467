//! The settings of a trusted issuer: a JSON object in a file.

use std::{fs, path::Path};

use serde_json::{Map, Value};

use crate::auth::{ClaimPath, ClaimRules, KeyAddress, KeyFile, RoleRule, Subject};

/// The names of all settings.
const NAMES: [&str; 10] = [
    "jwks_file",
    "jwks_uri",
    "jwks_uri_ca_file",
    "audience",
    "audience_claim",
    "role_claim",
    "roles",
    "required_claims",
    "subject_claim",
    "subject",
];

/// The settings of an issuer.
#[derive(Debug)]
pub(super) struct IssuerSettings {
    /// The file with the keys.
    pub(super) file: Option<KeyFile>,
    /// The address with the keys.
    pub(super) address: Option<KeyAddress>,
    /// The rules for the claims of the issuer's tokens.
    pub(super) rules: ClaimRules,
}

/// Reads the settings in `file`; `audience` is the audience of tokens where they state no other.
///
/// # Errors
///
/// All problems. Their texts contain names of settings and no values, because the file may be another one, with a secret in
/// it.
pub(super) fn read(file: &Path, audience: &str) -> Result<IssuerSettings, Vec<String>> {
    let text = fs::read(file).map_err(|error| vec![format!("cannot read its file: {error}")])?;
    parse(&text, audience).map_err(|problems| {
        let problems = problems.into_iter();
        problems.map(|problem| format!("its file{problem}")).collect()
    })
}

fn parse(text: &[u8], audience: &str) -> Result<IssuerSettings, Vec<String>> {
    let settings: Map<String, Value> = serde_json::from_slice(text).map_err(|error| {
        let (line, column) = (error.line(), error.column());
        vec![format!(" must be a JSON object (line {line}, column {column})")]
    })?;
    let mut reader = Reader {
        settings,
        problems: Vec::new(),
    };
    reader.check_names();
    let file = reader.text("jwks_file").map(|path| KeyFile::Public(path.into()));
    let address = reader.address();
    let standard = ClaimRules::standard(audience);
    let rules = ClaimRules {
        audience_claim: reader.path("audience_claim").unwrap_or(standard.audience_claim),
        audiences: reader.texts("audience").unwrap_or(standard.audiences),
        role: reader.role(),
        required: reader.required(),
        subject_claim: reader.path("subject_claim").unwrap_or(standard.subject_claim),
        subject: reader.subject(),
    };
    match reader.problems.is_empty() {
        true => Ok(IssuerSettings { file, address, rules }),
        false => Err(reader.problems),
    }
}

/// The settings, and the problems found so far.
struct Reader {
    settings: Map<String, Value>,
    problems: Vec<String>,
}

impl Reader {
    fn add(&mut self, name: &str, problem: &str) {
        self.problems.push(format!(": `{name}` {problem}"));
    }

    fn check_names(&mut self) {
        let unknown = self
            .settings
            .keys()
            .filter(|name| !NAMES.contains(&name.as_str()));
        for name in unknown.cloned().collect::<Vec<_>>() {
            let problem = format!("is not a setting: the settings are {}", NAMES.join(", "));
            self.add(name.escape_debug().to_string().as_str(), &problem);
        }
    }

    /// Returns a text that is not empty.
    fn text(&mut self, name: &str) -> Option<String> {
        match self.settings.get(name)? {
            Value::String(text) if !text.is_empty() => Some(text.clone()),
            _ => {
                self.add(name, "must be a text that is not empty");
                None
            }
        }
    }

    /// Returns the texts of an array, or the only text.
    fn texts(&mut self, name: &str) -> Option<Vec<String>> {
        let texts: Option<Vec<_>> = match self.settings.get(name)? {
            Value::String(text) => Some(vec![text.clone()]),
            Value::Array(texts) => texts
                .iter()
                .map(|text| text.as_str().map(str::to_owned))
                .collect(),
            _ => None,
        };
        let texts = texts.filter(|texts| !texts.is_empty() && texts.iter().all(|text| !text.is_empty()));
        if texts.is_none() {
            self.add(
                name,
                "must be a text, or an array of texts, of which none is empty",
            );
        }
        texts
    }

    /// Returns the path of a claim: its name, or an array of the names from the outside in.
    fn path(&mut self, name: &str) -> Option<ClaimPath> {
        ClaimPath::nested(self.texts(name)?)
    }

    fn address(&mut self) -> Option<KeyAddress> {
        let authorities = self.text("jwks_uri_ca_file");
        let Some(url) = self.text("jwks_uri") else {
            if authorities.is_some() {
                self.add("jwks_uri_ca_file", "needs `jwks_uri`");
            }
            if !self.settings.contains_key("jwks_file") && !self.settings.contains_key("jwks_uri") {
                self.add("jwks_file", "is missing: set it, or `jwks_uri`, or both");
            }
            return None;
        };
        let address = KeyAddress::new(&url, authorities.map(Into::into));
        address.map_err(|problem| self.add("jwks_uri", &problem)).ok()
    }

    fn role(&mut self) -> Option<RoleRule> {
        let accepted = self.texts("roles");
        match self.settings.get("role_claim") {
            None => self.add(
                "role_claim",
                "is missing: set it to the claim that has the role, or to null if the issuer's tokens have none",
            ),
            Some(Value::Null) => {
                if self.settings.contains_key("roles") {
                    self.add("roles", "needs a `role_claim`");
                }
            }
            Some(_) => {
                let claim = self.path("role_claim")?;
                let Some(accepted) = accepted else {
                    if !self.settings.contains_key("roles") {
                        self.add("roles", "is missing: set it to the accepted roles");
                    }
                    return None;
                };
                if claim.is_list() && accepted.iter().any(|role| role.contains(' ')) {
                    self.add("roles", "must have no spaces in a role, because `role_claim` is a list with spaces");
                }
                return Some(RoleRule { claim, accepted });
            }
        }
        None
    }

    fn required(&mut self) -> Vec<(String, Value)> {
        match self.settings.get("required_claims") {
            None => Vec::new(),
            Some(Value::Object(claims))
                if claims
                    .values()
                    .all(|value| value.is_string() || value.is_number() || value.is_boolean()) =>
            {
                claims
                    .iter()
                    .map(|(name, value)| (name.clone(), value.clone()))
                    .collect()
            }
            Some(_) => {
                self.add(
                    "required_claims",
                    "must be an object of the claims' names and their values, each a text, a number, true or false",
                );
                Vec::new()
            }
        }
    }

    fn subject(&mut self) -> Subject {
        match self.settings.get("subject").map(Value::as_str) {
            None | Some(Some("uuid")) => Subject::Uuid,
            Some(Some("uuid_v5")) => Subject::UuidV5,
            Some(_) => {
                self.add("subject", "must be uuid or uuid_v5");
                Subject::Uuid
            }
        }
    }
}

#[cfg(test)]
mod tests {
    use serde_json::json;

    use super::*;

    fn rules(settings: &Value) -> Result<ClaimRules, Vec<String>> {
        parse(settings.to_string().as_bytes(), "authenticated").map(|settings| settings.rules)
    }

    #[test]
    fn what_is_not_set_is_as_for_every_issuer() {
        let settings = json!({"jwks_file": "/keys", "role_claim": "role", "roles": ["authenticated"]});
        assert_eq!(rules(&settings), Ok(ClaimRules::standard("authenticated")));
        let settings =
            json!({"jwks_uri": "https://issuer.example/keys", "role_claim": null, "subject": "uuid"});
        let expected = ClaimRules {
            role: None,
            ..ClaimRules::standard("authenticated")
        };
        assert_eq!(rules(&settings), Ok(expected));
    }

    #[test]
    fn every_rule_can_be_set() {
        let settings = json!({
            "jwks_file": "/keys", "jwks_uri": "https://issuer.example/keys",
            "audience": ["app", "web"], "audience_claim": "azp",
            "role_claim": ["realm_access", "roles"], "roles": "member",
            "required_claims": {"typ": "Bearer", "email_verified": true, "ver": 2},
            "subject_claim": "oid", "subject": "uuid_v5",
        });
        let path = |names: &[&str]| {
            ClaimPath::nested(names.iter().map(|name| (*name).to_owned()).collect()).unwrap()
        };
        let expected = ClaimRules {
            audience_claim: path(&["azp"]),
            audiences: vec!["app".to_owned(), "web".to_owned()],
            role: Some(RoleRule {
                claim: path(&["realm_access", "roles"]),
                accepted: vec!["member".to_owned()],
            }),
            required: vec![
                ("email_verified".to_owned(), json!(true)),
                ("typ".to_owned(), json!("Bearer")),
                ("ver".to_owned(), json!(2)),
            ],
            subject_claim: path(&["oid"]),
            subject: Subject::UuidV5,
        };
        let mut found = rules(&settings).unwrap();
        found.required.sort_by(|a, b| a.0.cmp(&b.0));
        assert_eq!(found, expected);
    }

    #[test]
    fn all_problems_are_reported_at_once_and_no_value_is_shown() {
        let settings = json!({
            "jwks_file": "", "jwks_uri": "http://canary/", "jwks_uri_ca_file": 1, "audience": [], "audience_claim": {},
            "role_claim": ["a", ""], "roles": ["canary", 1], "required_claims": {"canary": null}, "subject_claim": 1,
            "subject": "canary", "jwks_url": "canary",
        });
        let problems = rules(&settings).unwrap_err();
        let texts = "must be a text, or an array of texts, of which none is empty";
        let mut expected = vec![
            ": `jwks_file` must be a text that is not empty".to_owned(),
            ": `jwks_uri_ca_file` must be a text that is not empty".to_owned(),
            ": `jwks_uri` must be an https URL without a user, such as https://issuer.example/jwks.json".to_owned(),
            ": `required_claims` must be an object of the claims' names and their values, each a text, a number, true or \
              false"
                .to_owned(),
            ": `subject` must be uuid or uuid_v5".to_owned(),
            format!(": `jwks_url` is not a setting: the settings are {}", NAMES.join(", ")),
        ];
        for name in [
            "audience",
            "audience_claim",
            "role_claim",
            "roles",
            "subject_claim",
        ] {
            expected.push(format!(": `{name}` {texts}"));
        }
        expected.sort();
        let mut sorted = problems;
        sorted.sort();
        assert_eq!(sorted, expected);
        assert!(!sorted.concat().contains("canary"));
    }

    #[test]
    fn what_belongs_together_is_set_together() {
        let key = "jwks_file";
        for (settings, problem) in [
            (
                json!({"role_claim": null}),
                "`jwks_file` is missing: set it, or `jwks_uri`, or both",
            ),
            (
                json!({key: "/k", "role_claim": null, "jwks_uri_ca_file": "/ca"}),
                "`jwks_uri_ca_file` needs `jwks_uri`",
            ),
            (
                json!({key: "/k"}),
                "`role_claim` is missing: set it to the claim that has the role, or to null if the issuer's tokens \
                 have none",
            ),
            (
                json!({key: "/k", "role_claim": null, "roles": "a"}),
                "`roles` needs a `role_claim`",
            ),
            (
                json!({key: "/k", "role_claim": "role"}),
                "`roles` is missing: set it to the accepted roles",
            ),
            (
                json!({key: "/k", "role_claim": "scope", "roles": ["a b"]}),
                "`roles` must have no spaces in a role, because `role_claim` is a list with spaces",
            ),
        ] {
            assert_eq!(rules(&settings), Err(vec![format!(": {problem}")]));
        }
        assert!(rules(&json!({key: "/k", "role_claim": "role", "roles": ["a b"]})).is_ok());
    }
}
