//! A call, as the server's layers know it by the time that a handler sees it.

use std::{fmt, sync::Arc};

use tokio::time::Instant;
use uuid::Uuid;

use crate::{deadline::Deadline, failure::Failure, network::Network, reason::Reason};

/// A person's id, the same in every Haven service.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash, PartialOrd, Ord)]
pub struct UserId(Uuid);

/// A service's name: the SAN of its client certificate that the configuration lists.
#[derive(Clone, Debug, PartialEq, Eq, Hash)]
pub struct ServiceName(Arc<str>);

/// A person with a valid token.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct User {
    /// Who.
    pub id: UserId,
    /// In which session. None: the token names none, as one from elsewhere may.
    pub session_id: Option<Uuid>,
    /// Whether somebody else than our own identity says so: a trusted issuer.
    pub foreign: bool,
    /// When the token expires, or in a day if that is sooner. None: there is no token, in local mode.
    pub valid_until: Option<Instant>,
}

/// Who calls. A call can carry both identities.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Caller {
    /// The person, from the access token.
    pub user: Option<User>,
    /// The service, from the client certificate.
    pub service: Option<ServiceName>,
}

/// What a handler knows about the call beside its request.
#[derive(Clone, Debug)]
pub struct Call {
    /// Who calls.
    pub caller: Caller,
    /// By when to answer.
    pub deadline: Deadline,
    /// Where the client is: by its socket, or, when a service calls for somebody, by the word of that service. None: the
    /// server does not see its sockets.
    pub network: Option<Network>,
}

// === impl User ===

impl User {
    /// The session that the token names, if it is one of our own: what another issuer calls a session is none that could be
    /// ended here.
    #[must_use]
    pub fn own_session(&self) -> Option<Uuid> {
        self.session_id.filter(|_| !self.foreign)
    }
}

// === impl UserId ===

impl UserId {
    /// The id.
    #[must_use]
    pub const fn new(id: Uuid) -> Self {
        Self(id)
    }

    /// The UUID.
    #[must_use]
    pub const fn as_uuid(&self) -> &Uuid {
        &self.0
    }
}

impl fmt::Display for UserId {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        self.0.fmt(f)
    }
}

// === impl ServiceName ===

impl ServiceName {
    /// The name.
    #[must_use]
    pub fn new(name: &str) -> Self {
        Self(name.into())
    }

    /// The name.
    #[must_use]
    pub fn as_str(&self) -> &str {
        &self.0
    }
}

// === impl Call ===

impl Call {
    /// What the layers put beside `request`.
    ///
    /// # Errors
    ///
    /// INTERNAL when it did not come through the layers, which the server builder makes impossible.
    pub fn of<T>(request: &tonic::Request<T>) -> Result<Self, Failure> {
        request
            .extensions()
            .get::<Self>()
            .cloned()
            .ok_or_else(|| Failure::internal("a request came past the server's layers"))
    }

    /// The person who calls.
    ///
    /// # Errors
    ///
    /// ACCESS_DENIED when it is none.
    pub fn user(&self) -> Result<UserId, Failure> {
        self.caller
            .user
            .map(|user| user.id)
            .ok_or_else(|| Failure::new(Reason::AccessDenied))
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_foreign_session_is_none_of_ours() {
        let user = User {
            id: UserId::new(Uuid::from_u128(1)),
            session_id: Some(Uuid::from_u128(2)),
            foreign: false,
            valid_until: None,
        };
        assert_eq!(user.own_session(), user.session_id);
        let foreign = User {
            foreign: true,
            ..user
        };
        assert_eq!(foreign.own_session(), None);
    }
}
