//! Authentication and authorization: determines the caller, and admits it if the RPC's access rule does.

use std::sync::Arc;

use axum::{extract::Request, response::Response};
use http::{HeaderMap, header::AUTHORIZATION};
use tonic::Status;
use uuid::Uuid;

use super::{
    client_address,
    connection::{Connection, service_of_request},
    layer::{Chain, Next},
};
use crate::{
    access::{Access, AccessTable, Rpc},
    auth::{TokenProblem, TokenVerifier, Verified},
    call::{Call, Caller, ServiceName, User, UserId},
    config::{AuthMode, Enforcement},
    deadline::{Deadline, MAX_CALL},
    failure::Failure,
    reason::{self, Reason},
    scopes::Scopes,
    tls::Tls,
    trusted_proxies::TrustedProxies,
};

/// The properties of a caller that may be logged: its kind, and its name if it is a service.
#[derive(Clone, Debug, Default)]
pub(super) struct CallerKind {
    pub(super) kind: &'static str,
    pub(super) service: Option<ServiceName>,
}

/// The state of the layer: the access rules, and the means to authenticate callers.
#[derive(Clone)]
pub(super) struct Authorization {
    access: AccessTable,
    tls: Arc<Tls>,
    verifier: Arc<TokenVerifier>,
    proxies: TrustedProxies,
    auth_mode: AuthMode,
    enforcement: Enforcement,
}

/// The layer: puts the [`Call`] into the request, or refuses it; puts the [`CallerKind`] into the response.
pub(super) async fn authorize<C: Chain>(
    authorization: Arc<Authorization>,
    mut request: Request,
    next: Next<C>,
) -> Response {
    let Some(rpc) = authorization.access.find(request.uri().path()) else {
        // The router will answer that there is no such RPC.
        return next.run(request).await;
    };
    // The request itself cannot be shared with the future below, because its body cannot.
    let connection = request.extensions().get::<Connection>().cloned();
    let service = authorization.service(&request);
    let mut kind = CallerKind {
        kind: if service.is_some() { "service" } else { "anonymous" },
        service: service.as_ref().map(|(name, _)| name.clone()),
    };
    let deadline = request.extensions().get::<Deadline>().copied();
    let authorized = match deadline {
        Some(deadline) => {
            authorization
                .call(rpc, service, connection.as_ref(), request.headers(), deadline)
                .await
        }
        None => Err(Failure::internal("the call has no deadline")),
    };
    let mut response = match authorized {
        Ok(call) => {
            if call.caller.user.is_some() {
                kind.kind = "user";
            }
            request.extensions_mut().insert(call);
            next.run(request).await
        }
        Err(failure) => Status::from(failure).into_http(),
    };
    response.extensions_mut().insert(kind);
    response
}

impl Authorization {
    pub(super) fn new(
        access: AccessTable,
        tls: Arc<Tls>,
        verifier: Arc<TokenVerifier>,
        proxies: TrustedProxies,
        auth_mode: AuthMode,
        enforcement: Enforcement,
    ) -> Self {
        Self {
            access,
            tls,
            verifier,
            proxies,
            auth_mode,
            enforcement,
        }
    }

    /// Returns the call's properties if `rpc` admits its caller.
    async fn call(
        &self,
        rpc: &Rpc,
        service: Option<(ServiceName, Scopes)>,
        connection: Option<&Connection>,
        headers: &HeaderMap,
        deadline: Deadline,
    ) -> Result<Call, Failure> {
        let caller = self.caller(rpc, service, headers, deadline).await?;
        // A call with a user acts as the user, and needs no scope.
        if let (Some(scope), None) = (rpc.scope, caller.user) {
            caller.require(scope)?;
        }
        let (network, network_source) =
            client_address::network(connection, rpc, &caller, headers, &self.proxies);
        Ok(Call {
            caller,
            deadline,
            network,
            network_source,
        })
    }

    /// Returns the caller if `rpc` admits it.
    async fn caller(
        &self,
        rpc: &Rpc,
        service: Option<(ServiceName, Scopes)>,
        headers: &HeaderMap,
        deadline: Deadline,
    ) -> Result<Caller, Failure> {
        let is_service = service.is_some();
        let verified = match rpc.access {
            // Tokens are ignored here, because a stale one must not prevent its owner from signing in.
            Access::Anyone => None,
            Access::User => match self.user(headers, deadline).await? {
                Some(verified) => Some(verified),
                None => return Err(TokenProblem::Missing.into()),
            },
            Access::Service if is_service => None,
            Access::UserOrService => match self.user(headers, deadline).await? {
                None if !is_service => return Err(TokenProblem::Missing.into()),
                verified => verified,
            },
            Access::Service | Access::Unspecified => return Err(Failure::new(Reason::AccessDenied)),
        };
        if let Some(verified) = &verified {
            self.check_requirements(rpc, verified)?;
        }
        let (service, scopes) = service.unzip();
        Ok(Caller {
            user: verified.map(|verified| verified.user),
            service,
            scopes: scopes.unwrap_or_default(),
        })
    }

    /// Refuses a user whose token states that consents to required documents are missing, if consents are enforced and
    /// `rpc` needs them.
    fn check_requirements(&self, rpc: &Rpc, verified: &Verified) -> Result<(), Failure> {
        let unmet = &verified.unmet;
        if self.enforcement == Enforcement::Off || rpc.despite_unmet || unmet.is_empty() {
            return Ok(());
        }
        Err(Failure::new(reason::unmet()).metadata_list("missing_consents", unmet.iter().map(String::as_str)))
    }

    /// Returns the service that `request` acts as, with its scopes; `None` unless it is listed.
    fn service(&self, request: &Request) -> Option<(ServiceName, Scopes)> {
        let service = service_of_request(request)?;
        let scopes = self.tls.scopes(service.as_str())?;
        Some((service.clone(), scopes))
    }

    /// Returns the user that the call's credentials name; `None` when there are none.
    async fn user(&self, headers: &HeaderMap, deadline: Deadline) -> Result<Option<Verified>, Failure> {
        match self.auth_mode {
            AuthMode::Token => match bearer(headers)? {
                // A stream's whole time would be too long to wait for keys.
                Some(token) => self
                    .verifier
                    .verify_claims(token, deadline.at_most(MAX_CALL))
                    .await
                    .map(Some),
                None => Ok(None),
            },
            AuthMode::Local => match headers.get("x-user-id") {
                Some(value) => {
                    let id = value.to_str().ok().and_then(|value| Uuid::try_parse(value).ok());
                    let id = id.ok_or_else(|| {
                        Failure::field("x-user-id", "NOT_A_UUID", "x-user-id must be a UUID")
                    })?;
                    Ok(Some(Verified {
                        user: User {
                            id: UserId::new(id),
                            session_id: None,
                            foreign: false,
                            valid_until: None,
                        },
                        unmet: Vec::new(),
                    }))
                }
                None => Ok(None),
            },
        }
    }
}

/// Returns the token in `authorization: Bearer <token>` (RFC 6750, section 2.1); `None` without that header.
fn bearer(headers: &HeaderMap) -> Result<Option<&str>, TokenProblem> {
    let mut values = headers.get_all(AUTHORIZATION).iter();
    let Some(value) = values.next() else {
        return Ok(None);
    };
    if values.next().is_some() {
        return Err(TokenProblem::Malformed);
    }
    let (scheme, token) = value
        .to_str()
        .ok()
        .and_then(|value| value.split_once(' '))
        .ok_or(TokenProblem::Malformed)?;
    if scheme.eq_ignore_ascii_case("bearer") {
        Ok(Some(token.trim()))
    } else {
        Err(TokenProblem::Malformed)
    }
}

#[cfg(test)]
mod tests {
    use http::HeaderValue;

    use super::*;

    fn headers(values: &[&'static str]) -> HeaderMap {
        values
            .iter()
            .map(|value| (AUTHORIZATION, HeaderValue::from_static(value)))
            .collect()
    }

    #[test]
    fn a_call_has_at_most_one_bearer_token() {
        assert_eq!(bearer(&headers(&[])).unwrap(), None);
        assert_eq!(bearer(&headers(&["Bearer abc"])).unwrap(), Some("abc"));
        assert_eq!(bearer(&headers(&["bearer  abc"])).unwrap(), Some("abc"));
        for wrong in [
            vec!["Basic abc"],
            vec!["abc"],
            vec![""],
            vec!["Bearer a", "Bearer b"],
        ] {
            assert!(bearer(&headers(&wrong)).is_err(), "{wrong:?}");
        }
    }
}
