//! The network address of a call's client.

use std::net::IpAddr;

use http::{HeaderMap, HeaderName};

use crate::{failure::Failure, network::Network};

/// The header in which a calling service states its client's address.
const FORWARDED_FOR: HeaderName = HeaderName::from_static("x-forwarded-for");

/// Returns the client's network.
///
/// A listed service states the address of its client in `x-forwarded-for`. Only the last address of the last such
/// header counts, because that is the one that the service itself saw; clients can forge the others. Without the header
/// the service is the client. The header of other callers is ignored.
pub(super) fn network(
    peer: Option<IpAddr>,
    is_service: bool,
    headers: &HeaderMap,
) -> Result<Option<Network>, Failure> {
    let last = headers.get_all(FORWARDED_FOR).iter().next_back();
    let Some(forwarded) = last.filter(|_| is_service) else {
        return Ok(peer.map(Network::of));
    };
    let address = forwarded
        .to_str()
        .ok()
        .and_then(|list| list.rsplit(',').next())
        .and_then(|last| last.trim().parse().ok());
    let malformed = || {
        let description = "x-forwarded-for must end with an IPv4 or IPv6 address without a port";
        Failure::field(FORWARDED_FOR.as_str(), "NOT_AN_ADDRESS", description)
    };
    address.map(Network::of).map(Some).ok_or_else(malformed)
}

#[cfg(test)]
mod tests {
    use http::HeaderValue;

    use super::*;

    fn headers(values: &[&'static str]) -> HeaderMap {
        values
            .iter()
            .map(|value| (FORWARDED_FOR, HeaderValue::from_static(value)))
            .collect()
    }

    fn of(address: &str) -> Option<Network> {
        Some(Network::of(address.parse().unwrap()))
    }

    #[test]
    fn the_address_of_a_client_is_that_of_its_socket() {
        let peer: IpAddr = "192.0.2.1".parse().unwrap();
        for (values, is_service) in [
            (&[][..], false),
            (&[][..], true),
            // A caller that is not a service can send the header, but it is ignored, even when it is malformed.
            (&["198.51.100.7"][..], false),
            (&["nonsense"][..], false),
        ] {
            let headers = headers(values);
            assert_eq!(
                network(Some(peer), is_service, &headers).unwrap(),
                of("192.0.2.1")
            );
        }
        assert_eq!(network(None, false, &HeaderMap::new()).unwrap(), None);
    }

    #[test]
    fn a_service_states_the_address_of_its_client() {
        let peer = Some("192.0.2.1".parse().unwrap());
        for (values, expected) in [
            (&["198.51.100.7"][..], "198.51.100.7"),
            (&["203.0.113.9, 198.51.100.7"][..], "198.51.100.7"),
            (&["203.0.113.9", "made up,198.51.100.7 "][..], "198.51.100.7"),
            (&["2001:db8::1"][..], "2001:db8::"),
            (&["::ffff:198.51.100.7"][..], "198.51.100.7"),
        ] {
            let headers = headers(values);
            assert_eq!(network(peer, true, &headers).unwrap(), of(expected), "{values:?}");
        }
        for wrong in [
            "",
            "nonsense",
            "198.51.100.7,",
            "198.51.100.7:80",
            "[2001:db8::1]",
            "198.51.100",
        ] {
            let failure = network(peer, true, &headers(&["198.51.100.7", wrong])).unwrap_err();
            let violations: Vec<_> = failure
                .all_violations()
                .iter()
                .map(|v| (v.field.as_str(), v.name))
                .collect();
            assert_eq!(violations, [("x-forwarded-for", "NOT_AN_ADDRESS")], "{wrong:?}");
        }
    }
}
