//! The address of a client in `x-forwarded-for`, and in `forwarded` of RFC 7239.
//!
//! Both are lists, to which each proxy appends the address that it saw, so they are read from the right. The last element of
//! the last header is what the sender itself saw. While an element is the address of a trusted proxy, that proxy appended the
//! element before. The first other address is the client's; what is left of it can be forged.

use std::net::{IpAddr, Ipv6Addr};

use http::{HeaderMap, HeaderName, header::FORWARDED};

use crate::trusted_proxies::TrustedProxies;

/// The header that most proxies append the client's address to. It has precedence over [`FORWARDED`].
const FORWARDED_FOR: HeaderName = HeaderName::from_static("x-forwarded-for");

/// The reason why the headers of a service or a trusted proxy do not have the address of its client.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Unusable {
    /// Neither header was sent.
    Missing,
    /// The element that counts is no address, such as `unknown` or an empty one.
    Malformed,
}

impl Unusable {
    /// Returns the reason's name in metrics.
    pub(super) fn name(self) -> &'static str {
        match self {
            Self::Missing => "missing",
            Self::Malformed => "malformed",
        }
    }
}

/// Returns the address of the client that the headers state: the first from the right that is not one of `proxies`. When all are,
/// the client is itself in a network of proxies, and the leftmost counts.
pub(super) fn address(headers: &HeaderMap, proxies: &TrustedProxies) -> Result<IpAddr, Unusable> {
    if headers.contains_key(FORWARDED_FOR) {
        let lists = headers.get_all(FORWARDED_FOR).iter().rev();
        client(
            lists.flat_map(|list| addresses(list.to_str().unwrap_or_default())),
            proxies,
        )
    } else if headers.contains_key(FORWARDED) {
        let lists = headers.get_all(FORWARDED).iter().rev();
        client(
            lists.flat_map(|list| addresses_of_rfc_7239(list.to_str().unwrap_or_default())),
            proxies,
        )
    } else {
        Err(Unusable::Missing)
    }
}

/// Returns the first of `hops` that is not one of `proxies`, or the last one. `None` among them is an element without an address.
fn client(hops: impl Iterator<Item = Option<IpAddr>>, proxies: &TrustedProxies) -> Result<IpAddr, Unusable> {
    let mut farthest = Err(Unusable::Malformed);
    for hop in hops {
        let address = hop.ok_or(Unusable::Malformed)?;
        farthest = Ok(address);
        if !proxies.contains(address) {
            break;
        }
    }
    farthest
}

/// Returns the elements of an `x-forwarded-for` header from the right.
fn addresses(list: &str) -> impl Iterator<Item = Option<IpAddr>> {
    list.rsplit(',').map(|element| node(element.trim()))
}

/// Returns the elements of a `forwarded` header from the right. A header with a quoted string that does not end is one element
/// without an address.
fn addresses_of_rfc_7239(list: &str) -> impl Iterator<Item = Option<IpAddr>> {
    let elements = split(list, ',').unwrap_or_else(|| vec![""]);
    elements
        .into_iter()
        .rev()
        .map(|element| node(&parameter_for(element)?))
}

/// Parses an address with or without a port: `192.0.2.1`, `192.0.2.1:80`, `2001:db8::1`, `[2001:db8::1]`,
/// `[2001:db8::1]:80`. The port may be an obfuscated one, such as `_gazonk` (RFC 7239, section 6).
fn node(text: &str) -> Option<IpAddr> {
    if let Ok(address) = text.parse() {
        return Some(address);
    }
    if let Some(bracketed) = text.strip_prefix('[') {
        let (address, port) = bracketed.split_once(']')?;
        let address: Ipv6Addr = address.parse().ok()?;
        let has_port = port.strip_prefix(':').is_some_and(is_port);
        return (port.is_empty() || has_port).then_some(address.into());
    }
    let (address, port) = text.split_once(':')?;
    let address = address.parse().ok()?;
    is_port(port).then_some(IpAddr::V4(address))
}

fn is_port(text: &str) -> bool {
    let is_obfuscated = |name: &str| {
        !name.is_empty()
            && name
                .chars()
                .all(|c| c.is_ascii_alphanumeric() || "._-".contains(c))
    };
    match text.strip_prefix('_') {
        Some(name) => is_obfuscated(name),
        None => text.chars().all(|c| c.is_ascii_digit()) && text.parse::<u16>().is_ok(),
    }
}

/// Returns the value of the parameter `for` in an element of a `forwarded` header, without quotes. `None` when the element has
/// none or more than one, or is malformed.
fn parameter_for(element: &str) -> Option<String> {
    let mut found = None;
    for pair in split(element, ';')? {
        let (name, value) = pair.trim().split_once('=')?;
        if name.eq_ignore_ascii_case("for") && found.replace(unquoted(value)?).is_some() {
            return None;
        }
    }
    found
}

/// Splits `text` at each `separator` outside of quoted strings. `None` when a quoted string does not end.
fn split(text: &str, separator: char) -> Option<Vec<&str>> {
    let (mut parts, mut start) = (Vec::new(), 0);
    let (mut is_quoted, mut is_escaped) = (false, false);
    for (at, c) in text.char_indices() {
        match c {
            _ if is_escaped => is_escaped = false,
            '\\' if is_quoted => is_escaped = true,
            '"' => is_quoted = !is_quoted,
            _ if c == separator && !is_quoted => {
                parts.push(&text[start..at]);
                start = at + separator.len_utf8();
            }
            _ => {}
        }
    }
    parts.push(&text[start..]);
    (!is_quoted).then_some(parts)
}

/// Returns the value of a token or of a quoted string (RFC 9110, section 5.6.4). `None` when it is neither.
fn unquoted(value: &str) -> Option<String> {
    let Some(rest) = value.strip_prefix('"') else {
        return (!value.contains(['"', ' ', '\t'])).then(|| value.to_owned());
    };
    let (mut text, mut characters) = (String::new(), rest.chars());
    loop {
        match characters.next()? {
            '"' => return characters.next().is_none().then_some(text),
            '\\' => text.push(characters.next()?),
            c => text.push(c),
        }
    }
}

#[cfg(test)]
mod tests {
    use http::HeaderValue;

    use super::*;

    fn of(headers: &[(HeaderName, &'static str)]) -> Result<String, Unusable> {
        behind("", headers)
    }

    /// The client behind the proxies `trusted`.
    fn behind(trusted: &str, headers: &[(HeaderName, &'static str)]) -> Result<String, Unusable> {
        let mut map = HeaderMap::new();
        for (name, value) in headers {
            map.append(name.clone(), HeaderValue::from_static(value));
        }
        let proxies = TrustedProxies::parse(trusted).unwrap();
        address(&map, &proxies).map(|address| address.to_string())
    }

    #[test]
    fn trusted_proxies_are_passed_over_from_the_right() {
        const PROXIES: &str = "10.1.0.0/16, 2001:db8:1::/48";
        for (values, expected) in [
            (&["198.51.100.7"][..], "198.51.100.7"),
            (&["198.51.100.7, 10.1.0.9"][..], "198.51.100.7"),
            (
                &["198.51.100.7, 10.1.0.9:4711, [2001:db8:1::9]:80"][..],
                "198.51.100.7",
            ),
            (&["198.51.100.7", "10.1.0.9", "10.1.0.8"][..], "198.51.100.7"),
            (&["198.51.100.7, ::ffff:10.1.0.9"][..], "198.51.100.7"),
            // What the client itself sent is left of its address.
            (&["203.0.113.9, 198.51.100.7, 10.1.0.9"][..], "198.51.100.7"),
            (&["10.1.0.1, 198.51.100.7"][..], "198.51.100.7"),
            (&["unknown, nonsense, 198.51.100.7, 10.1.0.9"][..], "198.51.100.7"),
            // A client in a network of proxies.
            (&["10.1.7.7, 10.1.0.9"][..], "10.1.7.7"),
            (&["10.1.7.7"][..], "10.1.7.7"),
        ] {
            let headers: Vec<_> = values.iter().map(|value| (FORWARDED_FOR, *value)).collect();
            assert_eq!(behind(PROXIES, &headers), Ok(expected.to_owned()), "{values:?}");
        }
        for wrong in [
            "unknown, 10.1.0.9",
            "198.51.100.7,, 10.1.0.9",
            "198.51.100.7, 10.1.0.9,",
        ] {
            let headers = [(FORWARDED_FOR, wrong)];
            assert_eq!(behind(PROXIES, &headers), Err(Unusable::Malformed), "{wrong:?}");
        }
        let chain = [
            (FORWARDED, "for=203.0.113.9, for=198.51.100.7;proto=https"),
            (FORWARDED, "for=\"[2001:db8:1::9]:80\", for=10.1.0.9"),
        ];
        assert_eq!(behind(PROXIES, &chain), Ok("198.51.100.7".to_owned()));
        assert_eq!(behind(PROXIES, &chain[..1]), Ok("198.51.100.7".to_owned()));
        assert_eq!(of(&chain), Ok("10.1.0.9".to_owned()), "no proxy is trusted");
        let unfinished = [
            (FORWARDED, "for=198.51.100.7, for=\"10.1.0.9"),
            (FORWARDED, "for=10.1.0.9"),
        ];
        assert_eq!(behind(PROXIES, &unfinished), Err(Unusable::Malformed));
    }

    #[test]
    fn the_last_address_of_the_last_header_counts_with_or_without_a_port() {
        for (values, expected) in [
            (&["198.51.100.7"][..], "198.51.100.7"),
            (&["203.0.113.9, 198.51.100.7"][..], "198.51.100.7"),
            (&["203.0.113.9", "made up,198.51.100.7 "][..], "198.51.100.7"),
            (&["198.51.100.7:4711"][..], "198.51.100.7"),
            (&["unknown, 198.51.100.7:0"][..], "198.51.100.7"),
            (&["2001:db8::1"][..], "2001:db8::1"),
            (&["[2001:db8::1]"][..], "2001:db8::1"),
            (&["[2001:db8::1]:65535"][..], "2001:db8::1"),
            (&["::ffff:198.51.100.7"][..], "::ffff:198.51.100.7"),
        ] {
            let headers: Vec<_> = values.iter().map(|value| (FORWARDED_FOR, *value)).collect();
            assert_eq!(of(&headers), Ok(expected.to_owned()), "{values:?}");
        }
    }

    #[test]
    fn what_is_no_address_is_malformed() {
        for wrong in [
            "",
            " ",
            "unknown",
            "_hidden",
            "nonsense",
            "198.51.100.7,",
            "198.51.100.7, unknown",
            "198.51.100",
            "198.51.100.7:",
            "198.51.100.7:65536",
            "198.51.100.7:+1",
            "198.51.100.7:80:80",
            "198.51.100.07",
            "2001:db8::1:80:",
            "[2001:db8::1",
            "[2001:db8::1]80",
            "[2001:db8::1]:",
            "[198.51.100.7]",
            "[]",
            "fe80::1%eth0",
            "\"198.51.100.7\"",
            "for=198.51.100.7",
        ] {
            let headers = [(FORWARDED_FOR, "198.51.100.7"), (FORWARDED_FOR, wrong)];
            assert_eq!(of(&headers), Err(Unusable::Malformed), "{wrong:?}");
        }
        let bytes = HeaderMap::from_iter([(FORWARDED_FOR, HeaderValue::from_bytes(b"\xff").unwrap())]);
        assert_eq!(
            address(&bytes, &TrustedProxies::default()),
            Err(Unusable::Malformed)
        );
        assert_eq!(of(&[]), Err(Unusable::Missing));
    }

    #[test]
    fn the_last_for_of_rfc_7239_counts() {
        for (value, expected) in [
            ("for=192.0.2.60", "192.0.2.60"),
            ("For=\"192.0.2.60:80\"", "192.0.2.60"),
            ("for=192.0.2.60:80", "192.0.2.60"),
            ("FOR=\"[2001:db8::1]:4711\"", "2001:db8::1"),
            ("for=\"[2001:db8::1]\"", "2001:db8::1"),
            ("for=\"192.0.2.60:_gazonk\"", "192.0.2.60"),
            ("for=\"192.0.2\\.60\"", "192.0.2.60"),
            (
                "for=unknown, by=203.0.113.43; proto=https ;for=192.0.2.60",
                "192.0.2.60",
            ),
            (
                "for=192.0.2.43;ext=\"a,b;for=1\\\",\", for=198.51.100.17",
                "198.51.100.17",
            ),
            ("for=198.51.100.17;ext=\"a, for=192.0.2.60\"", "198.51.100.17"),
        ] {
            assert_eq!(of(&[(FORWARDED, value)]), Ok(expected.to_owned()), "{value:?}");
        }
        for wrong in [
            "",
            "192.0.2.60",
            "for=",
            "for",
            "for=unknown",
            "for=_hidden",
            "for=192.0.2.60,",
            "for=192.0.2.60, proto=https",
            "for=192.0.2.60;for=192.0.2.61",
            "for=192.0.2.60;",
            "for=\"192.0.2.60",
            "for=\"192.0.2.60\"x",
            "for= 192.0.2.60",
            "for=192.0.2.60;ext=\"a\\\"",
        ] {
            let result = of(&[(FORWARDED, "for=198.51.100.7"), (FORWARDED, wrong)]);
            assert_eq!(result, Err(Unusable::Malformed), "{wrong:?}");
        }
    }

    #[test]
    fn forwarded_counts_only_without_x_forwarded_for() {
        let forwarded = (FORWARDED, "for=192.0.2.60");
        let both = [forwarded.clone(), (FORWARDED_FOR, "198.51.100.7")];
        assert_eq!(of(&both), Ok("198.51.100.7".to_owned()));
        let malformed = [forwarded, (FORWARDED_FOR, "unknown")];
        assert_eq!(of(&malformed), Err(Unusable::Malformed));
    }
}
