//! What no client of ours sends: canaries in bytes that are no request, on every port.

use haven_testkit::{Stack, service::Service};
use rcgen::{CertificateParams, KeyPair};
use tonic::transport::{Certificate, ClientTlsConfig, Endpoint, Identity};

use super::fixture::World;
use crate::raw_socket::{WHOLE, exchange, frame, header_block, kind, opening, tcp, tls};

pub(super) async fn garbage(world: &World) {
    for service in [&world.stack.identity, &world.stack.data] {
        plain(world, service).await;
        under_tls(world, service).await;
        http2(world, service).await;
        certificate(world, service).await;
    }
}

fn word(world: &World, service: &Service, what: &str) -> String {
    let what = format!("{}: {what}", service.name);
    world.flock.canary(&what).word().to_owned()
}

/// Bytes, and HTTP/1.1, where TLS, metrics or HTTP/2 are expected.
async fn plain(world: &World, service: &Service) {
    let (api, health, metrics) = (
        service.listeners.api,
        service.listeners.health,
        service.listeners.metrics,
    );
    for port in [api, health, metrics] {
        let bytes = word(world, service, "bytes on a socket").repeat(20);
        exchange(tcp(port).await, format!("{bytes}\r\n\r\n").as_bytes()).await;
        let (path, header) = (word(world, service, "a path"), word(world, service, "a header"));
        let request = format!(
            "GET /{path}?password={path} HTTP/1.1\r\nhost: {header}\r\nauthorization: Bearer {header}\r\n\
             connection: close\r\n\r\n"
        );
        exchange(tcp(port).await, request.as_bytes()).await;
    }
}

/// Names and protocols that a handshake carries, and HTTP/1.1 after it.
async fn under_tls(world: &World, service: &Service) {
    let Stack { certificates, .. } = &world.stack;
    let port = service.listeners.api;
    let name = format!("{}.example.org", word(world, service, "a server's name"));
    assert!(tls(certificates, port, &name, &["h2"]).await.is_err());
    let protocol = word(world, service, "a protocol");
    assert!(tls(certificates, port, "localhost", &[&protocol]).await.is_err());
    let stream = tls(certificates, port, "localhost", &[]).await.unwrap();
    let path = word(world, service, "a path under TLS");
    let request = format!("POST /{path} HTTP/1.1\r\nhost: {path}\r\ncontent-length: 12\r\n\r\n{path}");
    exchange(stream, request.as_bytes()).await;
}

/// Requests that HTTP/2 refuses before there is a call to answer, and debug data that it may log.
async fn http2(world: &World, service: &Service) {
    let word = |what| word(world, service, what);
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
    let path = format!("/{}", word("a path that is none"));
    let good = ("POST", "https", "localhost", "/", "te", "trailers");
    let mut sent = vec![
        request(&word("a method"), good.1, good.2, good.3, good.4, good.5),
        request("GET", good.1, good.2, &path, good.4, good.5),
        request(
            good.0,
            &format!("{} :", word("a scheme")),
            good.2,
            good.3,
            good.4,
            good.5,
        ),
        request(
            good.0,
            good.1,
            &format!("{} @:x", word("an authority")),
            good.3,
            good.4,
            good.5,
        ),
        request(good.0, good.1, good.2, &format!("{path} \u{1}"), good.4, good.5),
        request(
            good.0,
            good.1,
            good.2,
            good.3,
            &word("a name").to_uppercase(),
            good.5,
        ),
        request(
            good.0,
            good.1,
            good.2,
            good.3,
            "x-a",
            &format!("{}\u{1}", word("a value")),
        ),
        request(
            good.0,
            good.1,
            good.2,
            good.3,
            "connection",
            &word("a connection"),
        ),
        request(
            good.0,
            good.1,
            good.2,
            good.3,
            "content-length",
            &word("a length"),
        ),
        request(
            good.0,
            good.1,
            good.2,
            good.3,
            "x-a",
            &word("a large value").repeat(3_000),
        ),
        frame(kind::DATA, 1, 7, word("data of no stream").as_bytes()),
        frame(99, 0, 0, word("a frame of no type").as_bytes()),
    ];
    let goaway = [&[0; 8], word("debug data").as_bytes()].concat();
    sent.push(frame(kind::GOAWAY, 0, 0, &goaway));
    for bytes in sent {
        let stream = tls(
            &world.stack.certificates,
            service.listeners.api,
            "localhost",
            &["h2"],
        );
        let stream = stream.await.unwrap();
        // A second settings frame that is too long makes the server close, whatever it thought of the first.
        let end = frame(kind::SETTINGS, 0, 0, &[0; 7]);
        exchange(stream, &[opening(), bytes, end].concat()).await;
    }
}

/// A client certificate of nobody whom the services trust.
async fn certificate(world: &World, service: &Service) {
    let name = format!("{}.example.org", word(world, service, "a certificate's name"));
    let key = KeyPair::generate().unwrap();
    let certificate = CertificateParams::new([name]).unwrap().self_signed(&key).unwrap();
    let authority = std::fs::read(world.stack.certificates.authority()).unwrap();
    let tls = ClientTlsConfig::new()
        .ca_certificate(Certificate::from_pem(authority))
        .domain_name("localhost")
        .identity(Identity::from_pem(certificate.pem(), key.serialize_pem()));
    let endpoint = Endpoint::from_shared(format!("https://127.0.0.1:{}", service.listeners.api)).unwrap();
    let channel = endpoint.tls_config(tls).unwrap().connect_lazy();
    let mut health = tonic_health::pb::health_client::HealthClient::new(channel);
    let check = tonic_health::pb::HealthCheckRequest::default();
    assert!(world.keep(health.check(check).await).is_err());
}
