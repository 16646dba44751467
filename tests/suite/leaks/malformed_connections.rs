//! Canaries in bytes that are not a valid request, on every port.

use haven_testkit::{Stack, service::Service};
use rcgen::{CertificateParams, KeyPair};
use tonic::transport::{Certificate, ClientTlsConfig, Endpoint, Identity};

use super::fixture::Fixture;
use crate::raw_socket::{WHOLE, exchange, frame, header_block, kind, opening, tcp, tls};

/// Sends malformed bytes, TLS handshakes, HTTP/2 frames and client certificates to both services.
pub(super) async fn all(fixture: &Fixture) {
    for service in [&fixture.stack.identity, &fixture.stack.data] {
        plain(fixture, service).await;
        under_tls(fixture, service).await;
        http2(fixture, service).await;
        certificate(fixture, service).await;
    }
}

fn word(fixture: &Fixture, service: &Service, what: &str) -> String {
    let what = format!("{}: {what}", service.name);
    fixture.flock.canary(&what).word().to_owned()
}

/// Sends arbitrary bytes, and HTTP/1.1, to the ports for the API, health and metrics.
async fn plain(fixture: &Fixture, service: &Service) {
    let (api, health, metrics) = (
        service.listeners.api,
        service.listeners.health,
        service.listeners.metrics,
    );
    for port in [api, health, metrics] {
        let bytes = word(fixture, service, "bytes on a socket").repeat(20);
        exchange(tcp(port).await, format!("{bytes}\r\n\r\n").as_bytes()).await;
        let (path, header) = (
            word(fixture, service, "a path"),
            word(fixture, service, "a header"),
        );
        let request = format!(
            "GET /{path}?password={path} HTTP/1.1\r\nhost: {header}\r\nauthorization: Bearer {header}\r\n\
             connection: close\r\n\r\n"
        );
        exchange(tcp(port).await, request.as_bytes()).await;
    }
}

/// Puts canaries into the server name and the protocols of a TLS handshake, and into HTTP/1.1 after one.
async fn under_tls(fixture: &Fixture, service: &Service) {
    let Stack { certificates, .. } = &fixture.stack;
    let port = service.listeners.api;
    let name = format!("{}.example.org", word(fixture, service, "a server's name"));
    assert!(tls(certificates, port, &name, &["h2"]).await.is_err());
    let protocol = word(fixture, service, "a protocol");
    assert!(tls(certificates, port, "localhost", &[&protocol]).await.is_err());
    let stream = tls(certificates, port, "localhost", &[]).await.unwrap();
    let path = word(fixture, service, "a path under TLS");
    let request = format!("POST /{path} HTTP/1.1\r\nhost: {path}\r\ncontent-length: 12\r\n\r\n{path}");
    exchange(stream, request.as_bytes()).await;
}

/// Sends requests that HTTP/2 refuses before a call begins, and debug data that it may log.
async fn http2(fixture: &Fixture, service: &Service) {
    let word = |what| word(fixture, service, what);
    let request = |method: &str, scheme: &str, authority: &str, path: &str, name: &str, value: &str| {
        let fields = [
            (":method", method),
            (":scheme", scheme),
            (":authority", authority),
            (":path", path),
            (name, value),
        ];
        frame(kind::HEADERS, WHOLE, 1, &header_block(&fields))
    };
    let path = format!("/{}", word("an unknown path"));
    let valid = ("POST", "https", "localhost", "/", "te", "trailers");
    let mut frames = vec![
        request(&word("a method"), valid.1, valid.2, valid.3, valid.4, valid.5),
        request("GET", valid.1, valid.2, &path, valid.4, valid.5),
        request(
            valid.0,
            &format!("{} :", word("a scheme")),
            valid.2,
            valid.3,
            valid.4,
            valid.5,
        ),
        request(
            valid.0,
            valid.1,
            &format!("{} @:x", word("an authority")),
            valid.3,
            valid.4,
            valid.5,
        ),
        request(
            valid.0,
            valid.1,
            valid.2,
            &format!("{path} \u{1}"),
            valid.4,
            valid.5,
        ),
        request(
            valid.0,
            valid.1,
            valid.2,
            valid.3,
            &word("a name").to_uppercase(),
            valid.5,
        ),
        request(
            valid.0,
            valid.1,
            valid.2,
            valid.3,
            "x-a",
            &format!("{}\u{1}", word("a value")),
        ),
        request(
            valid.0,
            valid.1,
            valid.2,
            valid.3,
            "connection",
            &word("a connection"),
        ),
        request(
            valid.0,
            valid.1,
            valid.2,
            valid.3,
            "content-length",
            &word("a length"),
        ),
        request(
            valid.0,
            valid.1,
            valid.2,
            valid.3,
            "x-a",
            &word("a large value").repeat(3_000),
        ),
        frame(kind::DATA, 1, 7, word("data of an unknown stream").as_bytes()),
        frame(99, 0, 0, word("a frame of an unknown type").as_bytes()),
    ];
    let goaway = [&[0; 8], word("debug data").as_bytes()].concat();
    frames.push(frame(kind::GOAWAY, 0, 0, &goaway));
    for bytes in frames {
        let stream = tls(
            &fixture.stack.certificates,
            service.listeners.api,
            "localhost",
            &["h2"],
        );
        let stream = stream.await.unwrap();
        // A settings frame of an invalid length makes the server close the connection in any case.
        let end = frame(kind::SETTINGS, 0, 0, &[0; 7]);
        exchange(stream, &[opening(), bytes, end].concat()).await;
    }
}

/// Presents a client certificate of an authority that the services do not trust.
async fn certificate(fixture: &Fixture, service: &Service) {
    let name = format!("{}.example.org", word(fixture, service, "a certificate's name"));
    let key = KeyPair::generate().unwrap();
    let certificate = CertificateParams::new([name]).unwrap().self_signed(&key).unwrap();
    let authority = std::fs::read(fixture.stack.certificates.authority()).unwrap();
    let tls = ClientTlsConfig::new()
        .ca_certificate(Certificate::from_pem(authority))
        .domain_name("localhost")
        .identity(Identity::from_pem(certificate.pem(), key.serialize_pem()));
    let endpoint = Endpoint::from_shared(format!("https://127.0.0.1:{}", service.listeners.api)).unwrap();
    let channel = endpoint.tls_config(tls).unwrap().connect_lazy();
    let mut health = tonic_health::pb::health_client::HealthClient::new(channel);
    let check = tonic_health::pb::HealthCheckRequest::default();
    assert!(fixture.keep(health.check(check).await).is_err());
}
