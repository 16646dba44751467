//! Who may connect: over TLS 1.2 or newer, from the addresses of the list, to the databases that a login has business in, with
//! the right password.

use std::net::Ipv4Addr;

use haven_testkit::{Stack, proxy::Proxy, secrets::LOGINS};
use sqlx::{
    Connection, PgConnection,
    postgres::{PgConnectOptions, PgSslMode},
};
use tokio::{
    io::{AsyncReadExt, AsyncWriteExt},
    net::TcpStream,
};

use super::{
    cluster, code_and_message,
    log::{Log, canary},
    shared,
};

/// Returns the code and the message with which the server refuses the connection.
async fn refused(options: &PgConnectOptions) -> (String, String) {
    code_and_message(&PgConnection::connect_with(options).await.unwrap_err())
}

#[tokio::test]
async fn plain_text_is_refused() {
    let Some(stack) = shared().await else { return };
    for login in LOGINS.iter().chain(&["postgres"]) {
        let options = stack.database.options(login);
        let (code, message) = refused(&options.ssl_mode(PgSslMode::Disable)).await;
        assert_eq!(code, "28000", "{login}: {message}");
        let expected = format!(
            r#"no pg_hba.conf entry for host "127.0.0.1", user "{login}", database "haven", no encryption"#
        );
        assert_eq!(message, expected);
    }
}

#[tokio::test]
async fn addresses_outside_of_the_list_are_refused() {
    let Some(stack) = shared().await else { return };
    let outside = Proxy::start_from(Ipv4Addr::new(127, 0, 0, 9), stack.database.port);
    let outside = outside.await.unwrap();
    for login in LOGINS.iter().chain(&["postgres"]) {
        let (code, message) = refused(&stack.database.options(login).port(outside.port())).await;
        assert_eq!(code, "28000", "{login}: {message}");
        assert!(
            message.contains(r#"no pg_hba.conf entry for host "127.0.0.9""#),
            "{message}"
        );
    }
    // The proxy itself is not the reason.
    let inside = Proxy::start(stack.database.port).await.unwrap();
    let options = stack.database.options("data_app").port(inside.port());
    PgConnection::connect_with(&options)
        .await
        .unwrap()
        .close()
        .await
        .unwrap();
}

#[tokio::test]
async fn logins_are_refused_for_databases_that_they_have_no_business_in() {
    let Some(stack) = shared().await else { return };
    let maintenance = cluster(stack).maintenance();
    let mut refusals = 0;
    for login in LOGINS.iter().filter(|login| **login != "haven_admin") {
        for database in ["postgres", "template1"] {
            let (code, message) = refused(&maintenance.options(login).database(database)).await;
            assert!(
                code == "28000" && message.contains("no pg_hba.conf entry"),
                "{login}: {message}"
            );
            refusals += 1;
        }
    }
    assert_eq!(refusals, 18);
    // Backups are made on the server itself, over the socket.
    let (code, message) = refused(&stack.database.options("haven_backup")).await;
    assert!(
        code == "28000" && message.contains("no pg_hba.conf entry"),
        "{message}"
    );
}

#[tokio::test]
async fn a_wrong_password_is_logged_without_it() {
    let Some(stack) = shared().await else { return };
    let log = Log::of(stack);
    let canary = canary();
    for login in LOGINS.iter().filter(|login| **login != "haven_backup") {
        let options = stack.database.options(login).password(&canary);
        let (code, message) = refused(&options).await;
        assert_eq!(
            (code.as_str(), message),
            (
                "28P01",
                format!(r#"password authentication failed for user "{login}""#)
            )
        );
        log.line(&[
            "FATAL",
            "password authentication failed for user",
            login,
            "127.0.0.1",
        ])
        .await;
    }
    assert!(!log.text().contains(&canary));
}

/// The user, the database and the name of the application are logged as the client sent them. README.md says so.
#[tokio::test]
async fn what_a_client_sends_as_its_user_name_is_logged() {
    let Some(stack) = shared().await else { return };
    let log = Log::of(stack);
    let canary = canary();
    let (code, _) = refused(&stack.database.options("data_app").username(&canary)).await;
    assert_eq!(code, "28000");
    log.line(&["FATAL", "no pg_hba.conf entry", &canary]).await;
}

/// A cipher suite of TLS 1.2 with forward secrecy and AES-GCM.
const GCM: [u8; 2] = [0xc0, 0x2b];
/// One with AES-CBC.
const CBC: [u8; 2] = [0xc0, 0x09];
/// The first byte of an answer that goes on with the handshake, and of one that refuses.
const HANDSHAKE: u8 = 22;
const ALERT: u8 = 21;

#[tokio::test]
async fn old_versions_and_cipher_suites_of_tls_are_refused() {
    let Some(stack) = shared().await else { return };
    assert_eq!(tls_answer(stack, [3, 3], GCM).await[0], HANDSHAKE, "TLS 1.2");
    let old = tls_answer(stack, [3, 2], CBC).await;
    assert_eq!((old[0], old[6]), (ALERT, 70), "TLS 1.1: protocol_version");
    let weak = tls_answer(stack, [3, 3], CBC).await;
    assert_eq!(
        (weak[0], weak[6]),
        (ALERT, 40),
        "TLS 1.2 with CBC: handshake_failure"
    );
}

/// Offers `version` and `suite` alone, and returns the first seven bytes of the answer.
async fn tls_answer(stack: &Stack, version: [u8; 2], suite: [u8; 2]) -> [u8; 7] {
    let mut stream = TcpStream::connect(("127.0.0.1", stack.database.port))
        .await
        .unwrap();
    // SSLRequest of the Postgres protocol.
    stream.write_all(&[0, 0, 0, 8, 4, 210, 22, 47]).await.unwrap();
    assert_eq!(stream.read_u8().await.unwrap(), b'S');
    let mut hello = version.to_vec();
    hello.extend([7; 32]);
    // No session; one suite; no compression.
    hello.extend([0, 0, 2, suite[0], suite[1], 1, 0]);
    // Supported groups: P-256. Signatures: ECDSA with SHA-256.
    let extensions = [0, 10, 0, 4, 0, 2, 0, 23, 0, 13, 0, 4, 0, 2, 4, 3];
    hello.extend([0, extensions.len() as u8]);
    hello.extend(extensions);
    let length = hello.len() as u8;
    let mut record = vec![HANDSHAKE, 3, 1, 0, length + 4, 1, 0, 0, length];
    record.extend(hello);
    stream.write_all(&record).await.unwrap();
    let mut answer = [0; 7];
    stream.read_exact(&mut answer).await.unwrap();
    answer
}
