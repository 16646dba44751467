//! What is needed to verify access tokens of Haven's own issuer, and whether it has arrived.

use std::sync::Arc;

use super::{EndedSessions, KeySet};

/// The signing keys and the list of ended sessions.
///
/// A service without them can serve no person: a replica that has just started reports that it is not ready, so that
/// callers stay with the replicas that have them.
#[derive(Clone, Debug)]
pub(crate) struct TokenState {
    keys: Arc<KeySet>,
    ended: Arc<EndedSessions>,
}

impl TokenState {
    /// Creates the state of `keys` and `ended`.
    pub(crate) fn new(keys: Arc<KeySet>, ended: Arc<EndedSessions>) -> Self {
        Self { keys, ended }
    }

    /// Returns the name of what has not arrived yet. `None` once everything has; from then on always.
    pub(crate) fn missing(&self) -> Option<&'static str> {
        match (self.keys.has_keys(), self.ended.has_list()) {
            (false, _) => Some("the keys that verify access tokens"),
            (true, false) => Some("the list of ended sessions"),
            (true, true) => None,
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::auth::VerifyingKey;

    #[test]
    fn both_must_have_arrived() {
        let (keys, ended) = (Arc::new(KeySet::empty()), Arc::new(EndedSessions::new()));
        let state = TokenState::new(Arc::clone(&keys), Arc::clone(&ended));
        assert_eq!(state.missing(), Some("the keys that verify access tokens"));
        keys.replace([VerifyingKey::from_coordinates(
            "k1",
            "f83OJ3D2xF1Bg8vub9tLe1gHMzV76e8Tus9uPHvRVEU",
            "x_FEzRu9m36HLN_tue659LNpXW6pCyStikYjKIWI5a0",
        )
        .unwrap()]);
        assert_eq!(state.missing(), Some("the list of ended sessions"));
        ended.replace([]);
        assert_eq!(state.missing(), None);
    }
}
