//! The address of a client behind each proxy: `x-forwarded-for` as the proxy sends it, and `TRUSTED_PROXIES`.

use std::time::Duration;

use haven_proto::identity::v1::CheckPasswordRequest;
use haven_testkit::{Client, Stack};
use tokio::time::{Instant, sleep};
use tonic::{Code, Request};

use super::{client_from, loopback, start};
use crate::status::reason;

/// The time that a proxy gets to load its configuration.
const STARTING: Duration = Duration::from_secs(10);

/// Calls CheckPassword, which is limited by network. `stated` is what the client itself states about its address. Returns whether
/// the call was within the limit.
async fn is_within_limit(client: &Client, stated: Option<&str>) -> bool {
    let until = Instant::now() + STARTING;
    loop {
        let mut request = Request::new(CheckPasswordRequest {
            password: "Kite-over-7-harbours".to_owned(),
            ..CheckPasswordRequest::default()
        });
        if let Some(stated) = stated {
            let metadata = request.metadata_mut();
            metadata.insert("x-forwarded-for", stated.parse().unwrap());
            metadata.insert("forwarded", format!("for={stated}").parse().unwrap());
        }
        match client.account().check_password(request).await {
            Ok(_) => return true,
            Err(status) if status.code() == Code::ResourceExhausted => {
                assert_eq!(reason(&status), "RATE_LIMITED");
                return false;
            }
            // A proxy listens before it has its certificate. Such a call reached no service, and is counted nowhere.
            Err(status) if format!("{status:?}").contains("tls handshake eof") && Instant::now() < until => {
                sleep(Duration::from_millis(100)).await;
            }
            Err(status) => panic!("{status:?}"),
        }
    }
}

#[tokio::test]
async fn each_client_behind_a_proxy_has_its_own_limits_and_states_no_other_address() {
    let stack = Stack::builder()
        .variable("identity", "TRUSTED_PROXIES", "127.0.0.1")
        .variable("identity", "CHECK_PASSWORD_LIMITS", "network=2/1h,service=off")
        .start()
        .await
        .unwrap();
    for (number, proxy) in (1..).zip(start(&stack)) {
        let kind = proxy.kind;
        let attacker = client_from(&stack, &proxy, loopback(0, number, 2));
        let outcomes = [
            is_within_limit(&attacker, None).await,
            is_within_limit(&attacker, Some("198.51.100.1")).await,
            is_within_limit(&attacker, Some("198.51.100.2")).await,
            is_within_limit(&attacker, Some("203.0.113.9, 198.51.100.3")).await,
        ];
        assert_eq!(
            outcomes,
            [true, true, false, false],
            "{kind}: {}",
            proxy.last_lines()
        );
        let person = client_from(&stack, &proxy, loopback(0, number, 3));
        assert!(is_within_limit(&person, Some("127.0.0.9")).await, "{kind}");
    }
    // Nothing was counted for the socket of the proxies.
    let beside = stack.anonymous().unwrap();
    assert!(is_within_limit(&beside, None).await);
    // A client that comes directly states no address, not even where its network has a proxy for a neighbour.
    let direct = stack.client_from(loopback(0, 9, 2)).unwrap();
    let outcomes = [
        is_within_limit(&direct, Some("198.51.100.1")).await,
        is_within_limit(&direct, Some("198.51.100.2")).await,
        is_within_limit(&direct, Some("198.51.100.3")).await,
    ];
    assert_eq!(outcomes, [true, true, false]);
}
