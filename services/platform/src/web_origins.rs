//! The origins of the pages that may call from a browser.

use std::{
    net::{Ipv4Addr, Ipv6Addr},
    sync::Arc,
};

use http::HeaderValue;

/// The hosts of this machine, which may have origins without TLS: no network is between their page and the browser.
const LOCAL: [&str; 3] = ["localhost", "127.0.0.1", "[::1]"];

/// The exact origins of pages. The default is no origin. Cloning shares them.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct WebOrigins(Arc<[HeaderValue]>);

/// The error when an entry of the list cannot be used.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
pub enum WebOriginsError {
    /// An entry is not an origin.
    #[error(
        "each entry, separated by `,`, must be the origin of a page as browsers send it: a scheme, a host and a port if it is not the \
         default, such as https://app.example.org or http://localhost:5173, and {0:?} is not"
    )]
    Malformed(String),
    /// An entry stands for more than one origin.
    #[error("{0} would admit the pages of others: list each origin")]
    ManyOrigins(String),
    /// An entry has a path.
    #[error("{entry} has a path, and an origin has none: write {origin}")]
    Path {
        /// The entry.
        entry: String,
        /// The entry without its path.
        origin: String,
    },
    /// An entry has capital letters.
    #[error("{0} has capital letters, and browsers send none: write {lower}", lower = .0.to_ascii_lowercase())]
    UpperCase(String),
    /// An entry has the port that browsers leave out.
    #[error("{entry} has the default port, which browsers leave out: write {origin}")]
    DefaultPort {
        /// The entry.
        entry: String,
        /// The entry without its port.
        origin: String,
    },
    /// A page would be read and changed on its way.
    #[error(
        "{0} is without TLS, and only localhost, 127.0.0.1 and [::1] may be: everyone on the way could change the page, and read what \
         people type. Use https"
    )]
    WithoutTls(String),
}

impl WebOrigins {
    /// Parses a list of origins, such as `https://app.example.org,http://localhost:5173`. White space around an entry is ignored,
    /// and an empty text is a list without origins.
    ///
    /// # Errors
    ///
    /// Every problem of every entry.
    pub fn parse(text: &str) -> Result<Self, Vec<WebOriginsError>> {
        let (mut origins, mut problems) = (Vec::new(), Vec::new());
        let entries = text.split(',').filter(|_| !text.trim().is_empty());
        for entry in entries.map(str::trim) {
            match check(entry) {
                Ok(origin) => origins.push(origin),
                Err(problem) => problems.push(problem),
            }
        }
        if problems.is_empty() {
            Ok(Self(origins.into()))
        } else {
            Err(problems)
        }
    }

    /// Returns whether no origin is listed.
    #[must_use]
    pub fn is_empty(&self) -> bool {
        self.0.is_empty()
    }

    /// Returns whether `origin`, the value of the header of that name, is listed.
    #[must_use]
    pub fn contains(&self, origin: &HeaderValue) -> bool {
        self.0.contains(origin)
    }

    /// Returns the origins.
    pub fn iter(&self) -> impl Iterator<Item = &HeaderValue> {
        self.0.iter()
    }
}

fn check(entry: &str) -> Result<HeaderValue, WebOriginsError> {
    let malformed = || WebOriginsError::Malformed(entry.to_owned());
    if entry == "null" || entry.contains('*') {
        return Err(WebOriginsError::ManyOrigins(entry.to_owned()));
    }
    let (scheme, rest) = entry.split_once("://").ok_or_else(malformed)?;
    if let Some(end) = rest.find(['/', '?', '#']) {
        let origin = format!("{scheme}://{}", &rest[..end]);
        let entry = entry.to_owned();
        // The rest of the entry must be right before its path is the problem.
        return Err(match check(&origin) {
            Ok(_) => WebOriginsError::Path { entry, origin },
            Err(WebOriginsError::Malformed(_)) => WebOriginsError::Malformed(entry),
            Err(other) => other,
        });
    }
    if entry.bytes().any(|byte| byte.is_ascii_uppercase()) {
        let entry = entry.to_owned();
        return Err(match check(&entry.to_ascii_lowercase()) {
            Ok(_) => WebOriginsError::UpperCase(entry),
            Err(WebOriginsError::Malformed(_)) => WebOriginsError::Malformed(entry),
            Err(other) => other,
        });
    }
    let default_port = match scheme {
        "https" => 443,
        "http" => 80,
        _ => return Err(malformed()),
    };
    // A colon within brackets belongs to the address.
    let (host, port) = match rest.rsplit_once(':') {
        Some((host, port)) if !port.ends_with(']') => (host, Some(port)),
        _ => (rest, None),
    };
    if !is_host(host) {
        return Err(malformed());
    }
    if let Some(port) = port {
        let number: u16 = port.parse().map_err(|_| malformed())?;
        if number == 0 || number.to_string() != port {
            return Err(malformed());
        }
        if number == default_port {
            let (entry, origin) = (entry.to_owned(), format!("{scheme}://{host}"));
            return Err(WebOriginsError::DefaultPort { entry, origin });
        }
    }
    if scheme == "http" && !LOCAL.contains(&host) {
        return Err(WebOriginsError::WithoutTls(entry.to_owned()));
    }
    HeaderValue::from_str(entry).map_err(|_| malformed())
}

/// Returns whether `host` is an address or a name in the form that browsers send: names in ASCII, IPv6 in its shortest form.
fn is_host(host: &str) -> bool {
    if let Some(address) = host.strip_prefix('[').and_then(|host| host.strip_suffix(']')) {
        return address
            .parse::<Ipv6Addr>()
            .is_ok_and(|parsed| parsed.to_string() == address);
    }
    let is_label = |label: &str| {
        let allowed = |byte: u8| byte.is_ascii_lowercase() || byte.is_ascii_digit() || byte == b'-';
        !label.is_empty()
            && label.len() <= 63
            && label.bytes().all(allowed)
            && !label.starts_with('-')
            && !label.ends_with('-')
    };
    // Browsers take a host with a number at its end for an IPv4 address.
    let last = host.rsplit('.').next().unwrap_or_default();
    let is_number = last.bytes().all(|byte| byte.is_ascii_digit()) || last.starts_with("0x");
    match is_number {
        true => host.parse::<Ipv4Addr>().is_ok(),
        false => host.len() <= 253 && host.split('.').all(is_label),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn problem(entry: &str) -> String {
        let problems = WebOrigins::parse(entry).unwrap_err();
        assert_eq!(problems.len(), 1, "{entry}");
        problems[0].to_string()
    }

    #[test]
    fn a_list_has_the_exact_origins_of_pages() {
        let origins = WebOrigins::parse(
            " https://app.example.org,\nhttps://app.example.org:8443 , http://localhost:5173,http://127.0.0.1,\
             http://[::1]:8080,https://[2001:db8::1],https://192.0.2.1,https://xn--bcher-kva.example,https://intranet",
        )
        .unwrap();
        let contains = |origin: &str| origins.contains(&HeaderValue::from_str(origin).unwrap());
        for listed in [
            "https://app.example.org",
            "https://app.example.org:8443",
            "http://localhost:5173",
            "http://127.0.0.1",
            "http://[::1]:8080",
            "https://[2001:db8::1]",
            "https://192.0.2.1",
            "https://xn--bcher-kva.example",
            "https://intranet",
        ] {
            assert!(contains(listed), "{listed}");
        }
        for other in [
            "http://app.example.org",
            "https://app.example.org.",
            "https://APP.example.org",
            "https://app.example.org/",
            "https://app.example.org:443",
            "https://app.example.org:8444",
            "https://a.app.example.org",
            "https://app.example.org.evil.example",
            "https://evil.example/https://app.example.org",
            "http://localhost",
            "null",
            "*",
            "",
        ] {
            assert!(!contains(other), "{other}");
        }
    }

    #[test]
    fn an_empty_list_has_no_origin() {
        for empty in ["", " ", "\n"] {
            let origins = WebOrigins::parse(empty).unwrap();
            assert!(origins.is_empty());
            assert!(!origins.contains(&HeaderValue::from_static("null")));
        }
    }

    #[test]
    fn every_problem_states_its_rule() {
        for wrong in [
            "nonsense",
            "app.example.org",
            "//app.example.org",
            "ftp://app.example.org",
            "file://",
            "https://",
            "https://:8443",
            "https://app.example.org:",
            "https://app.example.org:0",
            "https://app.example.org:08443",
            "https://app.example.org:+8443",
            "https://app.example.org:65536",
            "https://ada@app.example.org",
            "https://app..example.org",
            "https://app.example.org.",
            "https://-app.example.org",
            "https://app_1.example.org",
            "https://bücher.example",
            "https://app.example.org https://b.example.org",
            "https://[2001:DB8::1]x",
            "https://[2001:db8:0::1]",
            "https://2001:db8::1",
            "https://192.0.2.256",
            "https://192.0.2.01",
            "https://0x7f.0x1",
        ] {
            let expected =
                format!("such as https://app.example.org or http://localhost:5173, and {wrong:?} is not");
            assert!(problem(wrong).ends_with(&expected), "{wrong}: {}", problem(wrong));
        }
        for many in ["*", "null", "https://*.example.org", "https://*"] {
            let expected = format!("{many} would admit the pages of others: list each origin");
            assert_eq!(problem(many), expected);
        }
        for (path, origin) in [
            ("https://app.example.org/", "https://app.example.org"),
            ("https://app.example.org/share#x", "https://app.example.org"),
            ("http://localhost:5173?a", "http://localhost:5173"),
        ] {
            let expected = format!("{path} has a path, and an origin has none: write {origin}");
            assert_eq!(problem(path), expected);
        }
        assert_eq!(
            problem("https://App.example.org"),
            "https://App.example.org has capital letters, and browsers send none: write https://app.example.org"
        );
        for (port, origin) in [
            ("https://app.example.org:443", "https://app.example.org"),
            ("http://[::1]:80", "http://[::1]"),
        ] {
            let expected = format!("{port} has the default port, which browsers leave out: write {origin}");
            assert_eq!(problem(port), expected);
        }
        for plain in [
            "http://app.example.org",
            "http://192.0.2.1:8080",
            "http://127.0.0.2",
            "http://localhost.example.org",
        ] {
            assert!(
                problem(plain).starts_with(&format!("{plain} is without TLS")),
                "{plain}"
            );
        }
        let problems = WebOrigins::parse("https://app.example.org,,x,http://app.example.org").unwrap_err();
        assert_eq!(problems.len(), 3, "{problems:?}");
    }
}
