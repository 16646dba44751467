//! The result of a check, for people and as JSON.

use std::fmt;

use serde::Serialize;

/// The result of a check.
#[derive(Clone, Debug, Serialize)]
pub struct Finding {
    /// The name of the service that ran the check.
    pub service: &'static str,
    /// The permanent name of the check, in kebab case.
    pub check: &'static str,
    /// The rule, as a sentence about a database that satisfies it.
    pub title: &'static str,
    /// The outcome.
    #[serde(flatten)]
    pub outcome: Outcome,
    /// The reason for the rule.
    pub meaning: &'static str,
    /// The statements or the action that mend a violation.
    pub remedy: String,
}

/// The outcome of a check.
#[derive(Clone, Debug, PartialEq, Eq, Serialize)]
#[serde(tag = "outcome", rename_all = "snake_case")]
pub enum Outcome {
    /// The rule holds.
    Pass,
    /// Production would fail, and a developer's machine does not.
    Warning {
        /// The violations.
        objects: Vec<String>,
    },
    /// The rule is violated.
    Fail {
        /// The violations.
        objects: Vec<String>,
    },
    /// The logins of this run may not look, or the run was not given what it has to look at.
    NotSeen {
        /// What the check needs.
        needs: String,
    },
}

impl Finding {
    /// Returns true if the rule is violated.
    #[must_use]
    pub fn is_failure(&self) -> bool {
        matches!(self.outcome, Outcome::Fail { .. })
    }
}

impl Outcome {
    /// Returns the first word of the finding's line.
    #[must_use]
    pub fn word(&self) -> &'static str {
        match self {
            Self::Pass => "pass",
            Self::Warning { .. } => "warning",
            Self::Fail { .. } => "FAIL",
            Self::NotSeen { .. } => "not seen",
        }
    }
}

/// Formats the finding as a line, followed by indented lines with the violations, the reason and the remedy.
impl fmt::Display for Finding {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{:<9} {:<28} {}", self.outcome.word(), self.check, self.title)?;
        match &self.outcome {
            Outcome::Pass => Ok(()),
            Outcome::NotSeen { needs } => write!(f, "\n{:10}needs: {needs}", ""),
            Outcome::Warning { objects } | Outcome::Fail { objects } => {
                for object in objects {
                    write!(f, "\n{:10}- {object}", "")?;
                }
                write!(f, "\n{:10}why: {}", "", self.meaning)?;
                write!(f, "\n{:10}mend: {}", "", self.remedy)
            }
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn finding(outcome: Outcome) -> Finding {
        Finding {
            service: "data",
            check: "tls-on",
            title: "the server accepts TLS",
            outcome,
            meaning: "Because.",
            remedy: "set ssl = on".to_owned(),
        }
    }

    #[test]
    fn only_a_violation_is_explained_to_people() {
        let line = "tls-on                       the server accepts TLS";
        assert_eq!(finding(Outcome::Pass).to_string(), format!("pass      {line}"));
        let objects = vec!["ssl is off".to_owned()];
        assert_eq!(
            finding(Outcome::Fail { objects }).to_string(),
            format!(
                "FAIL      {line}\n          - ssl is off\n          why: Because.\n          mend: set ssl = on"
            )
        );
    }

    #[test]
    fn json_has_the_outcome_beside_the_name() {
        let needs = "a superuser".to_owned();
        let json = serde_json::to_value(finding(Outcome::NotSeen { needs })).unwrap();
        assert_eq!(
            json,
            serde_json::json!({
                "service": "data", "check": "tls-on", "title": "the server accepts TLS", "outcome": "not_seen",
                "needs": "a superuser", "meaning": "Because.", "remedy": "set ssl = on",
            })
        );
    }
}
