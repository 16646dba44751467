//! Pages that call through each proxy, with the files of `deploy/proxies`.

use haven_proto::{
    data::v1::{WatchChangesRequest, WatchChangesResponse},
    identity::v1::CheckPasswordRequest,
};
use haven_testkit::{Stack, reverse_proxy::ReverseProxy};
use prost::Message;
use tokio::time::{Duration, sleep, timeout};
use tonic::Code;

use super::start;
use crate::{
    browser::{Browser, Http, ORIGIN, header},
    status::reason,
    test_device::Device,
};

const CHECK: &str = "/haven.identity.v1.AccountService/CheckPassword";

/// Returns a browser at 127.0.0.`network` that calls through `proxy`.
fn browser(stack: &Stack, proxy: &ReverseProxy, http: Http, network: u8) -> Browser {
    let mut browser = Browser::new(&stack.certificates, proxy.listeners().api, http);
    browser.network = network;
    browser
}

/// Calls CheckPassword. Returns whether it was within the limit of its network.
async fn is_within_limit(browser: &Browser) -> bool {
    let request = CheckPasswordRequest {
        password: "Kite-over-7-harbours".to_owned(),
        ..CheckPasswordRequest::default()
    };
    let headers = [("x-forwarded-for", "198.51.100.1")];
    let answer = browser.call(CHECK, &headers, &request.encode_to_vec()).await;
    assert_eq!(header(&answer.head, "access-control-allow-origin"), ORIGIN);
    let status = answer.status();
    if status.code() == Code::Ok {
        return true;
    }
    // With all its details, from the trailers or from headers.
    assert_eq!(reason(&status), "RATE_LIMITED");
    false
}

#[tokio::test]
async fn a_page_calls_both_services_through_each_proxy() {
    let stack = Stack::builder()
        .web_origins(ORIGIN)
        .variable("identity", "TRUSTED_PROXIES", "127.0.0.1")
        .variable("data", "TRUSTED_PROXIES", "127.0.0.1")
        .variable("identity", "CHECK_PASSWORD_LIMITS", "network=2/1h,service=off")
        .start()
        .await
        .unwrap();
    let device = Device::invent(&stack).await.unwrap();
    let token = format!("Bearer {}", device.person.token);
    for (number, proxy) in (1..).zip(start(&stack)) {
        let kind = proxy.kind;
        // A proxy listens before it has its certificate.
        sleep(Duration::from_secs(1)).await;
        for (version, http) in Http::BOTH.into_iter().enumerate() {
            let network = 10 * number + 2 * u8::try_from(version).unwrap();
            let ada = browser(&stack, &proxy, http, network);
            let (head, _) = ada
                .preflight(CHECK, "POST", "content-type,x-grpc-web,authorization")
                .await;
            assert_eq!(
                header(&head, "access-control-allow-origin"),
                ORIGIN,
                "{kind} {http:?}"
            );
            assert_eq!(header(&head, "access-control-max-age"), "7200", "{kind} {http:?}");
            let outcomes = [
                is_within_limit(&ada).await,
                is_within_limit(&ada).await,
                is_within_limit(&ada).await,
            ];
            assert_eq!(outcomes, [true, true, false], "{kind} {http:?}");
            let bob = browser(&stack, &proxy, http, network + 1);
            assert!(is_within_limit(&bob).await, "{kind} {http:?}");

            let watch = WatchChangesRequest {
                device_id: device.id.to_string(),
                cursor: String::new(),
            };
            let headers = [("authorization", token.as_str())];
            let path = "/haven.data.v1.CycleService/WatchChanges";
            let mut changes = ada.open(path, &headers, &watch.encode_to_vec()).await;
            let record = device.create(haven_testkit::random::uuid(), "A day").unwrap();
            device.client.cycle().create_record(record).await.unwrap();
            let first = timeout(Duration::from_secs(5), changes.message()).await.unwrap();
            let first = WatchChangesResponse::decode(first).unwrap();
            assert!(!first.cursor.is_empty(), "{kind} {http:?}");

            let mut stranger = ada.clone();
            stranger.origin = Some("https://evil.example");
            let (head, _) = stranger.preflight(CHECK, "POST", "content-type").await;
            assert_eq!(
                header(&head, "access-control-allow-origin"),
                "",
                "{kind} {http:?}"
            );
        }
    }
}
