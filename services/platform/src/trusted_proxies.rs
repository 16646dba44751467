//! The proxies that may state the addresses of their clients, by the networks of their sockets.

use std::{net::IpAddr, sync::Arc};

use ipnet::IpNet;

/// The fewest bits that a network may have. 10.0.0.0/8 and fd00::/8 are the largest private networks.
const FEWEST_BITS: u8 = 8;

/// The networks of the trusted proxies. The default is no network. Cloning shares them.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct TrustedProxies(Arc<[IpNet]>);

/// The error when an entry of the list cannot be used.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
pub enum TrustedProxiesError {
    /// An entry is neither an address nor a network.
    #[error(
        "each entry, separated by `,`, must be an address or a network, such as 192.0.2.10, 10.1.0.0/16 or 2001:db8:1::/48, and {0:?} is not"
    )]
    Malformed(String),
    /// A network has bits behind its prefix.
    #[error(
        "{0} has bits behind its prefix: write {network} for the whole network, or {address} for one proxy",
        network = .0.trunc(),
        address = .0.addr()
    )]
    HostBits(IpNet),
    /// A network has too few bits.
    #[error(
        "{0} is too large, and a network must have at least {FEWEST_BITS} bits: a client that connects from it can state any address as \
         its own, and is held by no limit of a network. List the addresses of your proxies"
    )]
    TooLarge(IpNet),
    /// A network has IPv4 addresses in the form of IPv6.
    #[error("{0} has IPv4 addresses in the form of IPv6 (::ffff:…): write it as IPv4")]
    Mapped(IpNet),
}

impl TrustedProxies {
    /// Parses a list of addresses and networks, such as `192.0.2.10,10.1.0.0/16`. White space around an entry is ignored, and
    /// an empty text is a list without networks.
    ///
    /// # Errors
    ///
    /// Every problem of every entry.
    pub fn parse(text: &str) -> Result<Self, Vec<TrustedProxiesError>> {
        let (mut networks, mut problems) = (Vec::new(), Vec::new());
        let entries = text.split(',').filter(|_| !text.trim().is_empty());
        for entry in entries.map(str::trim) {
            match network(entry) {
                Ok(network) => networks.push(network),
                Err(problem) => problems.push(problem),
            }
        }
        if problems.is_empty() {
            Ok(Self(networks.into()))
        } else {
            Err(problems)
        }
    }

    /// Returns whether `address` is that of a trusted proxy. An IPv4-mapped IPv6 address, which a listener on `[::]` sees, counts
    /// as an IPv4 address.
    #[must_use]
    pub fn contains(&self, address: IpAddr) -> bool {
        let address = address.to_canonical();
        self.0.iter().any(|network| network.contains(&address))
    }
}

fn network(entry: &str) -> Result<IpNet, TrustedProxiesError> {
    let address = entry.parse::<IpAddr>().map(IpNet::from);
    let network = address
        .or_else(|_| entry.parse::<IpNet>())
        .map_err(|_| TrustedProxiesError::Malformed(entry.to_owned()))?;
    if network.prefix_len() < FEWEST_BITS {
        return Err(TrustedProxiesError::TooLarge(network));
    }
    if network.addr().to_canonical() != network.addr() {
        return Err(TrustedProxiesError::Mapped(network));
    }
    if network.trunc() != network {
        return Err(TrustedProxiesError::HostBits(network));
    }
    Ok(network)
}

#[cfg(test)]
mod tests {
    use super::*;

    fn problem(entry: &str) -> String {
        let problems = TrustedProxies::parse(entry).unwrap_err();
        assert_eq!(problems.len(), 1, "{entry}");
        problems[0].to_string()
    }

    #[test]
    fn a_list_has_addresses_and_networks_of_both_families() {
        let proxies =
            TrustedProxies::parse(" 192.0.2.10,\n10.1.0.0/16 , 2001:db8:1::/48,2001:db8::5").unwrap();
        let contains = |address: &str| proxies.contains(address.parse().unwrap());
        for inside in [
            "192.0.2.10",
            "::ffff:192.0.2.10",
            "10.1.0.0",
            "10.1.255.255",
            "2001:db8:1:ffff::9",
            "2001:db8::5",
        ] {
            assert!(contains(inside), "{inside}");
        }
        for outside in [
            "192.0.2.11",
            "10.2.0.0",
            "2001:db8:2::",
            "2001:db8::6",
            "127.0.0.1",
            "::1",
        ] {
            assert!(!contains(outside), "{outside}");
        }
    }

    #[test]
    fn an_empty_list_trusts_no_proxy() {
        for empty in ["", " ", "\n"] {
            assert_eq!(TrustedProxies::parse(empty), Ok(TrustedProxies::default()));
        }
        assert!(!TrustedProxies::default().contains("127.0.0.1".parse().unwrap()));
    }

    #[test]
    fn every_problem_states_its_rule() {
        for wrong in [
            "nonsense",
            "proxy.example.org",
            "10.0.0.0/33",
            "10.0.0.0/",
            "10.0.0/8",
            "10.0.0.0/-1",
            "192.0.2.1:443",
            "[2001:db8::1]",
            "fe80::1%eth0",
            "*",
        ] {
            let expected =
                format!("such as 192.0.2.10, 10.1.0.0/16 or 2001:db8:1::/48, and {wrong:?} is not");
            assert!(problem(wrong).ends_with(&expected), "{wrong}");
        }
        for wide in ["0.0.0.0/0", "::/0", "128.0.0.0/1", "10.0.0.0/7", "fc00::/7"] {
            let expected = format!("{wide} is too large, and a network must have at least 8 bits");
            assert!(problem(wide).starts_with(&expected), "{wide}");
        }
        assert_eq!(
            problem("10.1.2.3/16"),
            "10.1.2.3/16 has bits behind its prefix: write 10.1.0.0/16 for the whole network, or 10.1.2.3 for one proxy"
        );
        assert_eq!(
            problem("::ffff:10.0.0.0/104"),
            "::ffff:10.0.0.0/104 has IPv4 addresses in the form of IPv6 (::ffff:…): write it as IPv4"
        );
        let problems = TrustedProxies::parse("10.0.0.1,,x,0.0.0.0/0").unwrap_err();
        assert_eq!(problems.len(), 3, "{problems:?}");
        for fine in ["10.0.0.0/8", "fd00::/8"] {
            assert!(TrustedProxies::parse(fine).is_ok(), "{fine}");
        }
    }
}
