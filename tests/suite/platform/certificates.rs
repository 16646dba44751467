//! Certificates are read again when they change.

use std::time::Duration;

use rustls::pki_types::ServerName;
use tokio::net::TcpStream;
use tokio_rustls::TlsConnector;

use super::probe::{Probe, proto};

/// What the server shows to a new connection.
async fn shown(probe: &Probe) -> Vec<u8> {
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
async fn a_new_certificate_is_shown_without_a_restart_and_a_bad_one_never() {
    let probe = Probe::start().await;
    let mut old_connection = probe.client();
    old_connection
        .ask_as_anyone(proto::AskAsAnyoneRequest {})
        .await
        .unwrap();
    let first = shown(&probe).await;

    // Half a renewal: the key does not fit. What was there before stays.
    let leaf = probe.certificates.leaf("data");
    let key = std::fs::read(&leaf.key).unwrap();
    std::fs::write(&leaf.key, "not a key").unwrap();
    tokio::time::sleep(Duration::from_secs(6)).await;
    assert_eq!(shown(&probe).await, first);
    std::fs::write(&leaf.key, key).unwrap();

    probe.certificates.issue("data").unwrap();
    let mut second = first.clone();
    for _ in 0..40 {
        tokio::time::sleep(Duration::from_millis(250)).await;
        second = shown(&probe).await;
        if second != first {
            break;
        }
    }
    assert_ne!(second, first, "the new certificate is not shown");
    old_connection
        .ask_as_anyone(proto::AskAsAnyoneRequest {})
        .await
        .expect("old connections go on");
}
