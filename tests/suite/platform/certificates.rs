//! Reload of changed certificates.

use std::time::Duration;

use rustls::pki_types::ServerName;
use tokio::net::TcpStream;
use tokio_rustls::TlsConnector;

use super::probe::{Probe, proto};

/// Returns the certificate that the server presents to a new connection.
async fn presented(probe: &Probe) -> Vec<u8> {
    let mut roots = rustls::RootCertStore::empty();
    let pem = std::fs::read(probe.certificates.authority()).unwrap();
    for authority in rustls::pki_types::pem::PemObject::pem_slice_iter(&pem) {
        roots.add(authority.unwrap()).unwrap();
    }
    let provider = std::sync::Arc::new(rustls::crypto::ring::default_provider());
    let mut config = rustls::ClientConfig::builder_with_provider(provider)
        .with_safe_default_protocol_versions()
        .unwrap()
        .with_root_certificates(roots)
        .with_no_client_auth();
    config.alpn_protocols = vec![b"h2".to_vec()];
    let stream = TcpStream::connect(probe.addr).await.unwrap();
    let name = ServerName::try_from("localhost").unwrap();
    let stream = TlsConnector::from(std::sync::Arc::new(config))
        .connect(name, stream)
        .await
        .unwrap();
    stream.get_ref().1.peer_certificates().unwrap()[0].to_vec()
}

#[tokio::test]
async fn a_new_certificate_is_loaded_without_a_restart_and_an_invalid_one_is_not() {
    let probe = Probe::start().await;
    let mut old_connection = probe.client();
    old_connection
        .ask_as_anyone(proto::AskAsAnyoneRequest {})
        .await
        .unwrap();
    let first = presented(&probe).await;

    // During a renewal the key does not belong to the certificate yet. The previous pair stays in use.
    let leaf = probe.certificates.leaf("data");
    let key = std::fs::read(&leaf.key).unwrap();
    std::fs::write(&leaf.key, "not a key").unwrap();
    tokio::time::sleep(Duration::from_secs(6)).await;
    assert_eq!(presented(&probe).await, first);
    std::fs::write(&leaf.key, key).unwrap();

    probe.certificates.issue("data").unwrap();
    let mut second = first.clone();
    for _ in 0..40 {
        tokio::time::sleep(Duration::from_millis(250)).await;
        second = presented(&probe).await;
        if second != first {
            break;
        }
    }
    assert_ne!(second, first, "the new certificate is not in use");
    old_connection
        .ask_as_anyone(proto::AskAsAnyoneRequest {})
        .await
        .expect("an open connection failed");
}
