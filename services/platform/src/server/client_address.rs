//! The network of a call's client: that of its socket, or the one that a service or a trusted proxy states.

use http::HeaderMap;

use super::{connection::Connection, forwarded};
use crate::{
    access::{Access, Rpc},
    call::Caller,
    network::{Network, NetworkSource},
    scopes::Scope,
    trusted_proxies::TrustedProxies,
};

/// Returns the client's network and its source.
///
/// Two kinds of callers state the address of their client in `x-forwarded-for` or `forwarded`: a service with the scope
/// `forward`, and a trusted proxy, which has no listed certificate. What is not usable there is counted in a metric, and the
/// socket's address counts: a call must not fail because of a proxy. The headers of other callers are ignored.
pub(super) fn network(
    connection: Option<&Connection>,
    rpc: &Rpc,
    caller: &Caller,
    headers: &HeaderMap,
    proxies: &TrustedProxies,
) -> (Option<Network>, NetworkSource) {
    let socket = connection.and_then(Connection::network);
    let without_address = match &caller.service {
        Some(_) if caller.scopes.contains(Scope::Forward) => NetworkSource::ServiceWithoutAddress,
        Some(_) => return (socket, NetworkSource::ServiceWithoutForward),
        None if connection.is_some_and(Connection::is_proxy) => NetworkSource::ProxyWithoutAddress,
        None => return (socket, NetworkSource::Client),
    };
    match forwarded::address(headers, proxies) {
        Ok(address) => (Some(Network::of(address)), NetworkSource::Forwarded),
        Err(unusable) => {
            // A service that calls for itself, and a proxy that asks for the health, have no client to state.
            if unusable == forwarded::Unusable::Malformed || is_for_client(rpc, caller) {
                metrics::counter!("haven_forwarded_address_unusable_total", "reason" => unusable.name())
                    .increment(1);
            }
            (socket, without_address)
        }
    }
}

/// Returns the network of the client that a trusted proxy states; `None` when the connection is not that of one, or it states no
/// usable address.
pub(super) fn behind_proxy(
    connection: &Connection,
    headers: &HeaderMap,
    proxies: &TrustedProxies,
) -> Option<Network> {
    let address = connection
        .is_proxy()
        .then(|| forwarded::address(headers, proxies).ok())?;
    address.map(Network::of)
}

/// Returns whether a call of a service or a proxy is for a client: with a user, or by an RPC that needs no identity.
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

    fn proxies() -> TrustedProxies {
        TrustedProxies::parse("192.0.2.1,10.1.0.0/16").unwrap()
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
        network_on(
            &Connection::new(1, of(SOCKET), caller.service.clone()),
            caller,
            value,
        )
    }

    fn network_on(
        connection: &Connection,
        caller: &Caller,
        value: Option<&'static str>,
    ) -> (Option<Network>, NetworkSource) {
        let rpc = rpc("haven.testing.v1.ProbeService/Ask", Access::Anyone);
        let headers = value.map(|value| {
            let name = http::HeaderName::from_static("x-forwarded-for");
            (name, HeaderValue::from_static(value))
        });
        let headers = headers.into_iter().collect();
        network(Some(connection), &rpc, caller, &headers, &proxies())
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
            &proxies(),
        );
        assert_eq!(unknown, (None, NetworkSource::Client));
    }

    #[test]
    fn a_trusted_proxy_states_the_address_of_its_client_without_any_right() {
        let proxy = Connection::of_proxy(1, Network::of(SOCKET.parse().unwrap()));
        let stranger = Caller::default();
        for stated in [
            "198.51.100.7",
            "203.0.113.9, 198.51.100.7",
            "198.51.100.7, 10.1.0.9",
        ] {
            let expected = (of("198.51.100.7"), NetworkSource::Forwarded);
            assert_eq!(network_on(&proxy, &stranger, Some(stated)), expected, "{stated}");
            let headers = HeaderMap::from_iter([(
                http::HeaderName::from_static("x-forwarded-for"),
                HeaderValue::from_static(stated),
            )]);
            assert_eq!(behind_proxy(&proxy, &headers, &proxies()), of("198.51.100.7"));
            let other = Connection::new(2, of(SOCKET), None);
            assert_eq!(behind_proxy(&other, &headers, &proxies()), None);
        }
        for unusable in [None, Some("unknown")] {
            let expected = (of(SOCKET), NetworkSource::ProxyWithoutAddress);
            assert_eq!(network_on(&proxy, &stranger, unusable), expected, "{unusable:?}");
        }
    }

    #[test]
    fn a_chain_behind_a_service_with_forward_is_passed_over_too() {
        let (client, source) = network_of(&service(&[Scope::Forward]), Some("198.51.100.7, 10.1.0.9"));
        assert_eq!((client, source), (of("198.51.100.7"), NetworkSource::Forwarded));
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
