//! Clients that hold places without use: they do not read their answers, or do not send their requests.

use std::time::Duration;

use haven_proto::{
    data::v1::ListMessagesRequest,
    identity::v1::{GetSigningKeysRequest, WithdrawConsentRequest},
};
use haven_testkit::{Stack, service::Service};
use tokio::time::Instant;

use super::attacker::Attacker;
use crate::{
    eventually::{eventually, within},
    metrics::Metrics,
    raw_socket::{exchange, tls},
};

/// The time after which an unread answer is dropped, and that after which its connection is closed, with the time of a
/// busy machine.
const DROPPED: Duration = Duration::from_secs(12);
const CLOSED: Duration = Duration::from_secs(30);

async fn metric(service: &Service, name: &str, labels: &[(&str, &str)]) -> f64 {
    let page = Metrics::read(service.listeners.metrics).await;
    page.sum(name, labels).unwrap_or_default()
}

#[tokio::test]
async fn unread_answers_of_a_stranger_are_dropped_and_their_connection_is_closed() {
    refuse_to_read(0).await;
}

/// HTTP/2 would keep the whole answer for a window of one byte.
#[tokio::test]
async fn answers_of_which_one_byte_is_read_are_unread() {
    refuse_to_read(1).await;
}

/// A stranger opens 200 calls on a connection with the window `window` for each answer.
async fn refuse_to_read(window: u32) {
    let stack = Stack::start().await.unwrap();
    let identity = &stack.identity;
    let mut attacker = Attacker::connect(&stack.certificates, identity.listeners.api, 2, window).await;
    for _ in 0..200 {
        attacker.call("/haven.identity.v1.AccountService/GetPasswordPolicy", "");
    }
    eventually("the answers wait for their client", async || {
        metric(identity, "haven_rpc_in_flight", &[]).await >= 90.0
    })
    .await;
    // One connection has half of the places for strangers; the other calls were refused.
    let refused = [("part", "anonymous"), ("cause", "connection")];
    assert!(metric(identity, "haven_rpc_shed_total", &refused).await >= 50.0);
    // Another network has places at once.
    let began = Instant::now();
    let anonymous = stack.anonymous().unwrap();
    for _ in 0..5 {
        anonymous
            .session()
            .get_signing_keys(GetSigningKeysRequest {})
            .await
            .unwrap();
    }
    anonymous.invent().await.unwrap();
    assert!(began.elapsed() < Duration::from_secs(5), "{:?}", began.elapsed());

    within(DROPPED, "the answers are dropped", async || {
        metric(identity, "haven_rpc_in_flight", &[]).await < 5.0
    })
    .await;
    assert!(metric(identity, "haven_answers_unread_total", &[]).await >= 90.0);
    attacker.closed(CLOSED).await;
    let cause = [("cause", "unread")];
    assert_eq!(
        metric(identity, "haven_connections_closed_total", &cause).await,
        1.0
    );
}

#[tokio::test]
async fn unread_answers_of_a_person_leave_places_for_others() {
    let stack = Stack::start().await.unwrap();
    let (ada, bob) = (stack.person().await.unwrap(), stack.person().await.unwrap());
    let data = &stack.data;
    let mut attacker = Attacker::connect(&stack.certificates, data.listeners.api, 2, 0).await;
    for _ in 0..300 {
        attacker.call("/haven.data.v1.ConversationService/ListMessages", &ada.token);
    }
    eventually("calls are refused", async || {
        metric(data, "haven_rpc_shed_total", &[("part", "calls")]).await >= 100.0
    })
    .await;
    let bob = stack.user(&bob).unwrap();
    for _ in 0..5 {
        let request = ListMessagesRequest::default();
        bob.conversation().list_messages(request).await.unwrap();
    }
    within(DROPPED, "the answers are dropped", async || {
        metric(data, "haven_rpc_in_flight", &[]).await < 5.0
    })
    .await;
    attacker.closed(CLOSED).await;
}

#[tokio::test]
async fn a_request_without_its_message_does_not_hold_a_place() {
    let stack = Stack::builder()
        .variable("identity", "REQUEST_BODY_TIMEOUT", "1s")
        .start()
        .await
        .unwrap();
    let identity = &stack.identity;
    let mut attacker = Attacker::connect(&stack.certificates, identity.listeners.api, 2, 65_535).await;
    for _ in 0..50 {
        attacker.begin("/haven.identity.v1.SessionService/SignIn", "");
    }
    let late = [
        ("rpc", "haven.identity.v1.SessionService/SignIn"),
        ("reason", "CLIENT_TOO_SLOW"),
    ];
    within(Duration::from_secs(6), "the calls end", async || {
        metric(identity, "haven_rpc_total", &late).await >= 50.0
    })
    .await;
    // The connection itself did nothing wrong.
    assert!(!attacker.is_closed());
    // A whole request is not affected.
    let request = WithdrawConsentRequest::default();
    let anonymous = stack.anonymous().unwrap();
    assert!(anonymous.account().withdraw_consent(request).await.is_err());
}

#[tokio::test]
async fn a_connection_without_a_preface_is_closed() {
    let stack = Stack::shared().await.unwrap();
    for service in [&stack.identity, &stack.data] {
        for bytes in [&b""[..], &b"PRI * HTTP/2.0\r\n"[..]] {
            let port = service.listeners.api;
            let stream = tls(&stack.certificates, port, "localhost", &["h2"])
                .await
                .unwrap();
            // Fails when the connection is still open after eight seconds.
            exchange(stream, bytes).await;
        }
    }
}

/// A client that connects again and again has the connections of its own network only.
#[tokio::test]
async fn connections_of_one_network_leave_some_for_others() {
    let stack = Stack::builder()
        .variable("identity", "MAX_CONNECTIONS", "40")
        .start()
        .await
        .unwrap();
    let identity = &stack.identity;
    let mut attackers = Vec::new();
    for _ in 0..40 {
        let stream = crate::raw_socket::tls_from(&stack.certificates, identity.listeners.api, 2).await;
        attackers.extend(stream);
    }
    assert!(metric(identity, "haven_connections_refused_total", &[("cause", "share")]).await >= 15.0);
    let anonymous = stack.anonymous().unwrap();
    anonymous
        .session()
        .get_signing_keys(GetSigningKeysRequest {})
        .await
        .unwrap();
    drop(attackers);
}
