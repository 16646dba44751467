//! The client's network, which is as precise as rate limits need the client's address to be.

use std::{fmt, net::IpAddr};

/// A client's network: the /32 of an IPv4 address, or the /64 of an IPv6 address, which is what a single customer gets.
///
/// A network is private: `Debug` does not show it, it is never logged, and it is stored only as a keyed hash.
#[derive(Clone, Copy, PartialEq, Eq, Hash)]
pub struct Network([u8; 9]);

/// The source of a client's network.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub enum NetworkSource {
    /// The socket of a client that is neither a service nor a trusted proxy.
    #[default]
    Client,
    /// A service with the scope `forward`, or a trusted proxy, which stated the address of its client.
    Forwarded,
    /// The socket of a service with the scope `forward` that stated no usable address.
    ServiceWithoutAddress,
    /// The socket of a service without the scope `forward`, which counts as the client.
    ServiceWithoutForward,
    /// The socket of a trusted proxy that stated no usable address.
    ProxyWithoutAddress,
}

impl NetworkSource {
    /// Returns whether the network is that of a service or a proxy, which all its people share.
    #[must_use]
    pub fn is_shared(self) -> bool {
        match self {
            Self::Client | Self::Forwarded => false,
            Self::ServiceWithoutAddress | Self::ServiceWithoutForward | Self::ProxyWithoutAddress => true,
        }
    }
}

impl Network {
    /// Returns the network of `address`. An IPv4-mapped IPv6 address (RFC 4291, section 2.5.5.2) counts as an IPv4
    /// address.
    #[must_use]
    pub fn of(address: IpAddr) -> Self {
        let mut bytes = [0; 9];
        match address.to_canonical() {
            IpAddr::V4(address) => {
                bytes[0] = 4;
                bytes[1..5].copy_from_slice(&address.octets());
            }
            IpAddr::V6(address) => {
                bytes[0] = 6;
                bytes[1..].copy_from_slice(&address.octets()[..8]);
            }
        }
        Self(bytes)
    }

    /// Returns the site of an IPv6 network: its /48, which is what an organization or a tunnel gets, with 65,536 networks.
    /// `None` for IPv4.
    #[must_use]
    pub fn site(&self) -> Option<Self> {
        let mut bytes = self.0;
        bytes[7..].fill(0);
        (bytes[0] == 6).then_some(Self(bytes))
    }

    /// Returns the address family (4 or 6) and the network's bytes, zero-padded for IPv4: the input for a keyed hash.
    #[must_use]
    pub const fn as_bytes(&self) -> [u8; 9] {
        self.0
    }
}

impl fmt::Debug for Network {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("Network")
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn network(address: &str) -> Network {
        Network::of(address.parse().unwrap())
    }

    #[test]
    fn an_ipv4_address_is_its_own_network() {
        assert_eq!(network("192.0.2.1").as_bytes(), [4, 192, 0, 2, 1, 0, 0, 0, 0]);
        assert_eq!(network("192.0.2.1"), network("::ffff:192.0.2.1"));
        assert_ne!(network("192.0.2.1"), network("192.0.2.2"));
    }

    #[test]
    fn an_ipv6_address_belongs_to_its_64_prefix() {
        let bytes = network("2001:db8:0:1::9").as_bytes();
        assert_eq!(bytes, [6, 0x20, 0x01, 0x0d, 0xb8, 0, 0, 0, 1]);
        assert_eq!(network("2001:db8:0:1::9"), network("2001:db8:0:1:ffff::"));
        assert_ne!(network("2001:db8:0:1::9"), network("2001:db8:0:2::9"));
    }

    #[test]
    fn the_networks_of_a_48_prefix_have_one_site() {
        let site = |address| network(address).site();
        assert_eq!(site("192.0.2.1"), None);
        assert!(site("2001:db8:0:1::1").is_some());
        assert_eq!(site("2001:db8:0:1::1"), site("2001:db8:0:ffff::1"));
        assert_ne!(site("2001:db8:0:1::1"), site("2001:db8:1:1::1"));
    }

    #[test]
    fn networks_of_two_families_differ_and_debug_shows_neither() {
        // An IPv4 address and an IPv6 network with the same leading bytes.
        assert_ne!(network("32.1.13.184"), network("2001:db8::"));
        assert_eq!(format!("{:?}", network("192.0.2.1")), "Network");
    }
}
