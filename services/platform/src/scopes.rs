//! The scopes of a service: the groups of RPCs that it may call, and its powers.

pub use haven_proto::access::v1::Scope;

/// A set of scopes.
///
/// ```
/// use haven_platform::scopes::{Scope, Scopes};
///
/// let scopes = Scopes::from_iter([Scope::Accounts, Scope::Forward]);
/// assert!(scopes.contains(Scope::Accounts) && !scopes.contains(Scope::Keys));
/// ```
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct Scopes(u32);

/// Returns every scope, in the order of the contract.
pub fn all() -> impl Iterator<Item = Scope> {
    (1..).map_while(|number| Scope::try_from(number).ok())
}

/// Returns the scope's name in the configuration and in errors, such as `provisioning`.
#[must_use]
pub fn name(scope: Scope) -> String {
    let name = scope.as_str_name();
    name.strip_prefix("SCOPE_").unwrap_or(name).to_ascii_lowercase()
}

/// Returns the scope with this name; `None` when there is none.
#[must_use]
pub fn from_name(wanted: &str) -> Option<Scope> {
    all().find(|scope| name(*scope) == wanted)
}

/// Returns whether the scope is a power, which an RPC checks for a part of its requests, and not a group of RPCs.
pub(crate) fn is_power(scope: Scope) -> bool {
    matches!(scope, Scope::Author | Scope::Forward)
}

// === impl Scopes ===

impl Scopes {
    /// Returns every scope, for tests.
    #[must_use]
    pub fn all() -> Self {
        all().collect()
    }

    /// Adds a scope. Returns `false` when the set already had it.
    pub(crate) fn insert(&mut self, scope: Scope) -> bool {
        let added = !self.contains(scope);
        self.0 |= 1 << scope as u32;
        added
    }

    /// Returns whether the set has `scope`.
    #[must_use]
    pub fn contains(self, scope: Scope) -> bool {
        self.0 & (1 << scope as u32) != 0
    }
}

impl FromIterator<Scope> for Scopes {
    fn from_iter<I: IntoIterator<Item = Scope>>(scopes: I) -> Self {
        let mut set = Self::default();
        for scope in scopes {
            set.insert(scope);
        }
        set
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_scope_is_found_by_its_name_in_lower_case() {
        let names: Vec<_> = all().map(name).collect();
        let expected = [
            "provisioning",
            "analysis",
            "crisis",
            "accounts",
            "keys",
            "author",
            "forward",
        ];
        assert_eq!(names, expected);
        for scope in all() {
            assert_eq!(from_name(&name(scope)), Some(scope));
        }
        for wrong in ["", "unspecified", "Keys", "SCOPE_KEYS", "key"] {
            assert_eq!(from_name(wrong), None, "{wrong}");
        }
    }

    #[test]
    fn a_set_has_the_scopes_that_were_added() {
        for scope in all() {
            let one = Scopes::from_iter([scope]);
            assert!(all().all(|other| one.contains(other) == (other == scope)));
            assert!(Scopes::all().contains(scope));
        }
        assert!(!Scopes::default().contains(Scope::Keys));
    }
}
