//! The services that may call, by the names in their certificates, and the scopes of each.

use std::collections::{HashMap, hash_map::Entry};

use crate::scopes::{self, Scopes};

/// The services that may call. The default admits none.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct AllowedServices(HashMap<String, Scopes>);

/// The error when an entry of the list of services cannot be parsed.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
pub enum AllowedServicesError {
    /// An entry has no name or no scopes.
    #[error(
        "each entry, separated by `;`, must be NAME=SCOPE[,SCOPE…], such as backend=accounts,forward, and {0:?} is not: names alone were the \
         form before scopes, and a service without scopes may do nothing"
    )]
    Malformed(String),
    /// A scope does not exist.
    #[error(
        "{scope:?}, given to {service:?}, is not a scope: the scopes are {}",
        scope_names()
    )]
    UnknownScope {
        /// The service that it is given to.
        service: String,
        /// The text that is no scope.
        scope: String,
    },
    /// A scope is listed twice in an entry.
    #[error("a scope must be listed once in an entry, and {service:?} has {scope:?} twice")]
    ScopeTwice {
        /// The service that it is given to.
        service: String,
        /// The scope.
        scope: String,
    },
    /// A name has two entries.
    #[error("a name must have one entry with all of its scopes, and {0:?} has two")]
    NameTwice(String),
}

fn scope_names() -> String {
    scopes::all().map(scopes::name).collect::<Vec<_>>().join(", ")
}

impl AllowedServices {
    /// Parses a list such as `backend=accounts,crisis;spiffe://example.org/worker=analysis`. White space around an entry,
    /// a name or a scope is ignored, and an empty text is a list without services. A name may contain any character but
    /// `;`, because its scopes begin after the last `=` of the entry.
    ///
    /// # Errors
    ///
    /// Every problem of every entry.
    pub fn parse(text: &str) -> Result<Self, Vec<AllowedServicesError>> {
        let (mut services, mut problems) = (HashMap::new(), Vec::new());
        let entries = text.split(';').filter(|_| !text.trim().is_empty());
        for entry in entries.map(str::trim) {
            let parts = entry
                .rsplit_once('=')
                .map(|(name, scopes)| (name.trim(), scopes.trim()));
            let Some((name, list)) = parts.filter(|(name, list)| !name.is_empty() && !list.is_empty()) else {
                problems.push(AllowedServicesError::Malformed(entry.to_owned()));
                continue;
            };
            let mut granted = Scopes::default();
            for scope in list.split(',').map(str::trim) {
                let (service, scope_name) = (name.to_owned(), scope.to_owned());
                match scopes::from_name(scope) {
                    Some(scope) if granted.insert(scope) => {}
                    Some(_) => problems.push(AllowedServicesError::ScopeTwice {
                        service,
                        scope: scope_name,
                    }),
                    None => problems.push(AllowedServicesError::UnknownScope {
                        service,
                        scope: scope_name,
                    }),
                }
            }
            match services.entry(name.to_owned()) {
                Entry::Vacant(entry) => {
                    entry.insert(granted);
                }
                Entry::Occupied(entry) => {
                    problems.push(AllowedServicesError::NameTwice(entry.key().clone()));
                }
            }
        }
        if problems.is_empty() {
            Ok(Self(services))
        } else {
            Err(problems)
        }
    }

    /// Returns the scopes of the service with this name; `None` when it may not call.
    #[must_use]
    pub fn scopes(&self, name: &str) -> Option<Scopes> {
        self.0.get(name).copied()
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::scopes::Scope;

    fn scopes(scopes: &[Scope]) -> Option<Scopes> {
        Some(scopes.iter().copied().collect())
    }

    fn problems(text: &str) -> Vec<String> {
        let problems = AllowedServices::parse(text).unwrap_err();
        problems.iter().map(ToString::to_string).collect()
    }

    #[test]
    fn each_name_has_its_own_scopes() {
        let services = AllowedServices::parse(
            " backend = author, forward ;\n worker.haven.svc=provisioning;spiffe://example.org/ns/a?b=c=keys",
        )
        .unwrap();
        assert_eq!(
            services.scopes("backend"),
            scopes(&[Scope::Author, Scope::Forward])
        );
        assert_eq!(
            services.scopes("worker.haven.svc"),
            scopes(&[Scope::Provisioning])
        );
        assert_eq!(
            services.scopes("spiffe://example.org/ns/a?b=c"),
            scopes(&[Scope::Keys])
        );
        for other in ["", "worker", "spiffe://example.org/ns/a", "BACKEND"] {
            assert_eq!(services.scopes(other), None, "{other:?}");
        }
    }

    #[test]
    fn an_empty_list_admits_no_service() {
        for empty in ["", " ", "\n"] {
            assert_eq!(AllowedServices::parse(empty), Ok(AllowedServices::default()));
        }
    }

    #[test]
    fn every_problem_states_its_rule() {
        let malformed = |entry: &str| {
            format!(
                "each entry, separated by `;`, must be NAME=SCOPE[,SCOPE…], such as backend=accounts,forward, and {entry:?} is \
                 not: names alone were the form before scopes, and a service without scopes may do nothing"
            )
        };
        for wrong in ["data,backend", "backend=", "=accounts", "="] {
            assert_eq!(problems(wrong), [malformed(wrong)]);
        }
        assert_eq!(problems("a=keys;"), [malformed("")]);
        let unknown = |scope: &str| {
            format!(
                "{scope:?}, given to \"a\", is not a scope: the scopes are provisioning, analysis, crisis, accounts, keys, \
                 author, forward"
            )
        };
        for wrong in ["admin", "Keys", "*", "unspecified"] {
            assert_eq!(problems(&format!("a={wrong}")), [unknown(wrong)]);
        }
        assert_eq!(
            problems("a=keys,;a=keys,author,keys;b"),
            [
                unknown(""),
                "a scope must be listed once in an entry, and \"a\" has \"keys\" twice".to_owned(),
                "a name must have one entry with all of its scopes, and \"a\" has two".to_owned(),
                malformed("b"),
            ]
        );
    }
}
