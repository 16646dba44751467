//! The HTTPS address at which an issuer publishes its keys: the `jwks_uri` of OpenID Connect.

use std::{fs, io, path::PathBuf, sync::Arc, time::Duration};

use http::{
    HeaderMap, StatusCode, Uri,
    header::{ACCEPT, CACHE_CONTROL, HOST, USER_AGENT},
};
use http_body_util::{BodyExt, Empty, LengthLimitError, Limited};
use hyper::{Request, body::Bytes, client::conn::http1};
use hyper_util::rt::TokioIo;
use rustls::{
    ClientConfig, RootCertStore,
    crypto::ring,
    pki_types::{CertificateDer, ServerName, pem::PemObject},
};
use tokio::{net::TcpStream, task::JoinSet, time::timeout};
use tokio_rustls::TlsConnector;

use super::jwks::{self, JwksProblem, Published};

/// The time limit of one request, from the look-up of the name to the last byte.
const TIMEOUT: Duration = Duration::from_secs(5);

/// The maximum size of an answer. The largest sets of public issuers have some 20 KiB.
const MAX_BYTES: usize = 256 << 10;

/// An HTTPS address with an issuer's public keys.
///
/// Haven connects to the address itself, without a proxy, and follows no redirect. The server's certificate must be valid
/// for the address, and issued by an authority of the file or, without a file, by one that Mozilla's programs trust.
#[derive(Clone, Debug)]
pub struct KeyAddress {
    url: Uri,
    host: String,
    port: u16,
    name: ServerName<'static>,
    authorities: Option<PathBuf>,
}

/// An answer.
#[derive(Debug)]
pub(super) struct Answer {
    pub(super) published: Published,
    /// The time for which the issuer lets the answer be kept.
    pub(super) max_age: Option<Duration>,
}

/// The reason why no keys were received. Its text contains no part of the answer except key ids.
#[derive(Debug, thiserror::Error)]
pub(super) enum FetchError {
    #[error("{0}")]
    Authorities(String),
    #[error("cannot connect: {0}")]
    Connect(io::Error),
    #[error("TLS: {0}")]
    Tls(io::Error),
    #[error("HTTP: {0}")]
    Http(#[from] hyper::Error),
    #[error("the request cannot be built: {0}")]
    Request(#[from] http::Error),
    #[error("the answer has the status {}, which is a redirect: write the address that it leads to", .0.as_u16())]
    Redirect(StatusCode),
    #[error("the answer has the status {}", .0.as_u16())]
    Status(StatusCode),
    #[error("the answer is larger than 256 KiB")]
    TooLarge,
    #[error("the answer broke off")]
    Interrupted,
    #[error("no complete answer within 5 s")]
    Timeout,
    #[error("the answer: {0}")]
    Keys(#[from] JwksProblem),
}

impl KeyAddress {
    /// Creates the address `url`. `authorities` is a file of the authorities that may have issued the server's
    /// certificate, PEM; it is read again for each request.
    ///
    /// # Errors
    ///
    /// A description of what is wrong with the URL or the file.
    pub fn new(url: &str, authorities: Option<PathBuf>) -> Result<Self, String> {
        let rule = "must be an https URL without a user, such as https://issuer.example/jwks.json";
        let url: Uri = url.parse().map_err(|_| rule.to_owned())?;
        let authority = url
            .authority()
            .filter(|authority| !authority.as_str().contains('@'));
        let (Some("https"), Some(authority)) = (url.scheme_str(), authority) else {
            return Err(rule.to_owned());
        };
        let host = authority
            .host()
            .trim_start_matches('[')
            .trim_end_matches(']')
            .to_owned();
        let name = ServerName::try_from(host.clone()).map_err(|_| rule.to_owned())?;
        let address = Self {
            port: authority.port_u16().unwrap_or(443),
            host,
            name,
            authorities,
            url,
        };
        address.client().map_err(|error| error.to_string())?;
        Ok(address)
    }

    /// Requests the keys.
    ///
    /// # Errors
    ///
    /// [`FetchError`] when there is no answer in time, or it has no usable key.
    pub(super) async fn fetch(&self) -> Result<Answer, FetchError> {
        let (headers, body) = timeout(TIMEOUT, self.get())
            .await
            .map_err(|_| FetchError::Timeout)??;
        Ok(Answer {
            published: jwks::parse(&body)?,
            max_age: max_age(&headers),
        })
    }

    async fn get(&self) -> Result<(HeaderMap, Bytes), FetchError> {
        let tls = TlsConnector::from(Arc::new(self.client()?));
        let socket = TcpStream::connect((self.host.as_str(), self.port))
            .await
            .map_err(FetchError::Connect)?;
        let stream = tls
            .connect(self.name.clone(), socket)
            .await
            .map_err(FetchError::Tls)?;
        let (mut sender, connection) = http1::handshake(TokioIo::new(stream)).await?;
        // Ends with this request: the set aborts its tasks when it is dropped.
        let mut tasks = JoinSet::new();
        tasks.spawn(connection);
        let target = self.url.path_and_query().map_or("/", |target| target.as_str());
        let host = self
            .url
            .authority()
            .map_or(self.host.as_str(), |host| host.as_str());
        let request = Request::get(target)
            .header(HOST, host)
            .header(ACCEPT, "application/jwk-set+json, application/json")
            .header(USER_AGENT, "haven")
            .body(Empty::<Bytes>::new())?;
        let (head, body) = sender.send_request(request).await?.into_parts();
        match head.status {
            StatusCode::OK => {}
            status if status.is_redirection() => return Err(FetchError::Redirect(status)),
            status => return Err(FetchError::Status(status)),
        }
        let body = Limited::new(body, MAX_BYTES).collect().await.map_err(|error| {
            match error.is::<LengthLimitError>() {
                true => FetchError::TooLarge,
                false => FetchError::Interrupted,
            }
        })?;
        Ok((head.headers, body.to_bytes()))
    }

    /// Returns the configuration of a connection, with the authorities as they are now.
    fn client(&self) -> Result<ClientConfig, FetchError> {
        let mut roots = RootCertStore::empty();
        match &self.authorities {
            None => roots.extend(webpki_roots::TLS_SERVER_ROOTS.iter().cloned()),
            Some(path) => {
                let unusable = |error: &dyn std::fmt::Display| {
                    FetchError::Authorities(format!(
                        "cannot use the authorities in {}: {error}",
                        path.display()
                    ))
                };
                let pem = fs::read(path).map_err(|error| unusable(&error))?;
                for certificate in CertificateDer::pem_slice_iter(&pem) {
                    let certificate = certificate.map_err(|error| unusable(&error))?;
                    roots.add(certificate).map_err(|error| unusable(&error))?;
                }
                if roots.is_empty() {
                    return Err(unusable(&"the file has no certificate"));
                }
            }
        }
        let mut config = ClientConfig::builder_with_provider(Arc::new(ring::default_provider()))
            .with_safe_default_protocol_versions()
            .map_err(|error| FetchError::Authorities(error.to_string()))?
            .with_root_certificates(roots)
            .with_no_client_auth();
        config.alpn_protocols = vec![b"http/1.1".to_vec()];
        Ok(config)
    }
}

/// Returns the `max-age` of `Cache-Control` (RFC 9111, section 5.2.2.1).
fn max_age(headers: &HeaderMap) -> Option<Duration> {
    let directives = headers
        .get_all(CACHE_CONTROL)
        .iter()
        .filter_map(|value| value.to_str().ok());
    directives
        .flat_map(|value| value.split(','))
        .filter_map(|directive| directive.split_once('='))
        .find(|(name, _)| name.trim().eq_ignore_ascii_case("max-age"))
        .and_then(|(_, seconds)| seconds.trim().trim_matches('"').parse().ok())
        .map(Duration::from_secs)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn an_address_is_https_without_a_user() {
        for url in [
            "https://issuer.example/jwks.json",
            "https://issuer.example:8443/keys?a=b",
            "https://127.0.0.1/keys",
            "https://[::1]:1/keys",
            "https://issuer.example",
        ] {
            KeyAddress::new(url, None).unwrap();
        }
        for url in [
            "",
            "issuer.example/jwks.json",
            "http://issuer.example/jwks.json",
            "https://canary@issuer.example/",
            "https:///jwks.json",
            "file:///jwks.json",
        ] {
            let problem = KeyAddress::new(url, None).unwrap_err();
            assert!(problem.starts_with("must be an https URL"), "{url}: {problem}");
            assert!(!problem.contains("canary"));
        }
        let problem = KeyAddress::new("https://issuer.example/", Some("/no/such/file".into()));
        assert!(problem.unwrap_err().contains("/no/such/file"));
    }

    #[test]
    fn the_age_of_an_answer_is_limited_by_its_header() {
        let of = |values: &[&'static str]| {
            let mut headers = HeaderMap::new();
            for value in values {
                headers.append(CACHE_CONTROL, http::HeaderValue::from_static(value));
            }
            max_age(&headers).map(|age| age.as_secs())
        };
        assert_eq!(
            of(&["public, max-age=19302, must-revalidate, no-transform"]),
            Some(19_302)
        );
        assert_eq!(of(&["public", "Max-Age=\"15\""]), Some(15));
        for without in [
            &[][..],
            &["no-store"],
            &["max-age=soon"],
            &["s-maxage=5"],
            &["max-age=-1"],
        ] {
            assert_eq!(of(without), None, "{without:?}");
        }
    }
}
