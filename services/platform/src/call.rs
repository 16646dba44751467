//! The call that a handler answers: its caller, deadline and client network, as determined by the server's layers.

use std::{fmt, sync::Arc};

use tokio::time::Instant;
use uuid::Uuid;

use crate::{
    deadline::Deadline,
    failure::Failure,
    network::{Network, NetworkSource},
    reason::Reason,
    scopes::{self, Scope, Scopes},
};

/// A user's id: a UUID, the same in every Haven service.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash, PartialOrd, Ord)]
pub struct UserId(Uuid);

/// A calling service's name: the subject alternative name of its client certificate that the configuration lists.
#[derive(Clone, Debug, PartialEq, Eq, Hash)]
pub struct ServiceName(Arc<str>);

/// A user with a valid access token.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct User {
    /// The user's id, from the token's `sub`.
    pub id: UserId,
    /// The session that the token names. `None` when it names none, which tokens of other issuers may do.
    pub session_id: Option<Uuid>,
    /// True if the token is from a trusted issuer other than Haven's identity service.
    pub foreign: bool,
    /// The time when the token expires, or a day from now if that is sooner. `None` in local mode, where there is no
    /// token.
    pub valid_until: Option<Instant>,
}

/// The identities of a caller. A call can carry both.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Caller {
    /// The user, from the access token; `None` without one.
    pub user: Option<User>,
    /// The service, from the client certificate; `None` without a listed one.
    pub service: Option<ServiceName>,
    /// The scopes of the service; empty without one.
    pub scopes: Scopes,
}

/// The cause of a refusal: a service called without a scope that the call needs.
#[derive(Debug, thiserror::Error)]
#[error("the service {} lacks the scope `{}`: see ALLOWED_SERVICES", service.as_str(), scopes::name(*scope))]
struct Lacking {
    service: ServiceName,
    scope: Scope,
}

/// The properties of a call beside its request message.
#[derive(Clone, Debug)]
pub struct Call {
    /// The authenticated caller of the RPC.
    pub caller: Caller,
    /// The deadline of the call.
    pub deadline: Deadline,
    /// The client's network: that of the socket, or, when a service calls for a client, the one that the service
    /// states. `None` when the socket's address is unknown.
    pub network: Option<Network>,
    /// The source of the network.
    pub network_source: NetworkSource,
}

// === impl User ===

impl User {
    /// Returns the session if the token is Haven's own. A session of another issuer cannot be ended here.
    #[must_use]
    pub fn own_session(&self) -> Option<Uuid> {
        self.session_id.filter(|_| !self.foreign)
    }
}

// === impl UserId ===

impl UserId {
    /// Wraps a UUID as a user id.
    #[must_use]
    pub const fn new(id: Uuid) -> Self {
        Self(id)
    }

    /// Returns the id as a UUID.
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
    /// Wraps a name from a certificate.
    #[must_use]
    pub fn new(name: &str) -> Self {
        Self(name.into())
    }

    /// Returns the name as text.
    #[must_use]
    pub fn as_str(&self) -> &str {
        &self.0
    }
}

// === impl Caller ===

impl Caller {
    /// Admits a call that needs `scope` if the calling service has it. Whether the call also has a user does not matter.
    ///
    /// # Errors
    ///
    /// ACCESS_DENIED: for a service, with the missing scope in the metadata `scope`, and for the log the service's name.
    pub fn require(&self, scope: Scope) -> Result<(), Failure> {
        let Some(service) = self.service.as_ref() else {
            return Err(Failure::new(Reason::AccessDenied));
        };
        if self.scopes.contains(scope) {
            return Ok(());
        }
        let failure = Failure::new(Reason::AccessDenied).metadata("scope", scopes::name(scope));
        Err(failure.because(Lacking {
            service: service.clone(),
            scope,
        }))
    }
}

// === impl Call ===

impl Call {
    /// Returns the call that the server's layers attached to `request`.
    ///
    /// # Errors
    ///
    /// INTERNAL when the request did not pass the layers, which the server builder prevents.
    pub fn of<T>(request: &tonic::Request<T>) -> Result<Self, Failure> {
        request
            .extensions()
            .get::<Self>()
            .cloned()
            .ok_or_else(|| Failure::internal("the request did not pass the server's layers"))
    }

    /// Returns the calling user's id.
    ///
    /// # Errors
    ///
    /// ACCESS_DENIED when the call carries no user.
    pub fn user(&self) -> Result<UserId, Failure> {
        self.caller
            .user
            .map(|user| user.id)
            .ok_or_else(|| Failure::new(Reason::AccessDenied))
    }
}

#[cfg(test)]
mod tests {
    use std::error::Error as _;

    use super::*;

    #[test]
    fn the_session_of_another_issuer_is_not_our_own() {
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

    #[test]
    fn a_service_without_the_scope_is_refused_and_named_in_the_cause() {
        let caller = |scopes: &[Scope]| Caller {
            user: None,
            service: Some(ServiceName::new("worker")),
            scopes: scopes.iter().copied().collect(),
        };
        assert!(
            caller(&[Scope::Keys, Scope::Author])
                .require(Scope::Author)
                .is_ok()
        );
        let failure = caller(&[Scope::Keys]).require(Scope::Author).unwrap_err();
        assert_eq!(failure.reason(), Reason::AccessDenied);
        assert_eq!(
            failure.source().unwrap().to_string(),
            "the service worker lacks the scope `author`: see ALLOWED_SERVICES"
        );
        let failure = Caller::default().require(Scope::Author).unwrap_err();
        assert_eq!(failure.reason(), Reason::AccessDenied);
        assert!(failure.source().is_none(), "the caller is not a service");
    }
}
