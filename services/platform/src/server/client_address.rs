//! The network of a call's client: that of its socket, or the one that a service states.

use std::net::IpAddr;

use http::HeaderMap;

use super::forwarded;
use crate::{
    access::{Access, Rpc},
    call::Caller,
    network::{Network, NetworkSource},
    scopes::Scope,
};

/// Returns the client's network and its source.
///
/// A service with the scope `forward` states the address of its client in `x-forwarded-for` or `forwarded`. What is not
/// usable there is counted in a metric, and the socket's address counts: a call must not fail because of a proxy. The
/// headers of other callers are ignored.
pub(super) fn network(
    peer: Option<IpAddr>,
    rpc: &Rpc,
    caller: &Caller,
    headers: &HeaderMap,
) -> (Option<Network>, NetworkSource) {
    let socket = peer.map(Network::of);
    if caller.service.is_none() {
        return (socket, NetworkSource::Client);
    }
    if !caller.scopes.contains(Scope::Forward) {
        return (socket, NetworkSource::ServiceWithoutForward);
    }
    match forwarded::address(headers) {
        Ok(address) => (Some(Network::of(address)), NetworkSource::Forwarded),
        Err(unusable) => {
            // A service that calls for itself has no client to state.
            if unusable == forwarded::Unusable::Malformed || is_for_client(rpc, caller) {
                metrics::counter!("haven_forwarded_address_unusable_total", "reason" => unusable.name())
                    .increment(1);
            }
            (socket, NetworkSource::ServiceWithoutAddress)
        }
    }
}

/// Returns whether a call of a service is for a client: with a user, or by an RPC that needs no identity.
fn is_for_client(rpc: &Rpc, caller: &Caller) -> bool {
    caller.user.is_some() || (rpc.access == Access::Anyone && !rpc.is_standard())
}

#[cfg(test)]
mod tests {
    use http::HeaderValue;

    use super::*;
    use crate::{access::ResponseKind, call::ServiceName};

    const SOCKET: &str = "192.0.2.1";

    fn of(address: &str) -> Option<Network> {
        Some(Network::of(address.parse().unwrap()))
    }

    fn rpc(name: &str, access: Access) -> Rpc {
        Rpc {
            name: name.into(),
            access,
            scope: None,
            response: ResponseKind::Message,
            uploads: false,
            despite_unmet: false,
        }
    }

    fn service(scopes: &[Scope]) -> Caller {
        Caller {
            user: None,
            service: Some(ServiceName::new("backend")),
            scopes: scopes.iter().copied().collect(),
        }
    }

    fn network_of(caller: &Caller, value: Option<&'static str>) -> (Option<Network>, NetworkSource) {
        let rpc = rpc("haven.testing.v1.ProbeService/Ask", Access::Anyone);
        let headers = value.map(|value| {
            let name = http::HeaderName::from_static("x-forwarded-for");
            (name, HeaderValue::from_static(value))
        });
        let headers = headers.into_iter().collect();
        network(Some(SOCKET.parse().unwrap()), &rpc, caller, &headers)
    }

    #[test]
    fn only_a_service_with_forward_states_the_address_of_its_client() {
        let all_but_forward: Vec<_> = crate::scopes::all()
            .filter(|scope| *scope != Scope::Forward)
            .collect();
        for (caller, source) in [
            (Caller::default(), NetworkSource::Client),
            (service(&all_but_forward), NetworkSource::ServiceWithoutForward),
        ] {
            for value in [None, Some("198.51.100.7"), Some("nonsense")] {
                assert_eq!(network_of(&caller, value), (of(SOCKET), source));
            }
        }
        let forwards = service(&[Scope::Forward]);
        assert_eq!(
            network_of(&forwards, Some("198.51.100.7")),
            (of("198.51.100.7"), NetworkSource::Forwarded)
        );
        for value in [None, Some("nonsense")] {
            assert_eq!(
                network_of(&forwards, value),
                (of(SOCKET), NetworkSource::ServiceWithoutAddress)
            );
        }
        let unknown = network(
            None,
            &rpc("haven.testing.v1.ProbeService/Ask", Access::User),
            &Caller::default(),
            &HeaderMap::new(),
        );
        assert_eq!(unknown, (None, NetworkSource::Client));
    }

    #[test]
    fn a_service_that_calls_for_itself_has_no_client() {
        let by_service = service(&[Scope::Forward]);
        let user = crate::call::User {
            id: crate::call::UserId::new(uuid::Uuid::from_u128(1)),
            session_id: None,
            foreign: false,
            valid_until: None,
        };
        let for_user = Caller {
            user: Some(user),
            ..service(&[Scope::Forward])
        };
        let either = rpc("haven.testing.v1.ProbeService/Ask", Access::UserOrService);
        assert!(!is_for_client(&either, &by_service));
        assert!(is_for_client(&either, &for_user));
        let anyone = rpc("haven.testing.v1.ProbeService/Ask", Access::Anyone);
        assert!(is_for_client(&anyone, &by_service));
        let health = rpc("grpc.health.v1.Health/Check", Access::Anyone);
        assert!(!is_for_client(&health, &by_service));
    }
}
