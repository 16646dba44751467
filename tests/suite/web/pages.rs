//! Pages that call both services: what a person does, streams of real data, and the limits behind a proxy.

use haven_proto::{
    data::v1::{ExportDataRequest, ExportDataResponse, WatchChangesRequest, WatchChangesResponse},
    identity::v1::{
        CheckPasswordRequest, GetAccountRequest, GetAccountResponse, GetPasswordPolicyRequest,
        GetPasswordPolicyResponse, SignUpResponse,
    },
};
use haven_testkit::{Stack, client::sign_up_request, random};
use prost::Message;
use tokio::time::{Duration, timeout};
use tonic::Code;
use tonic_types::StatusExt;

use super::encoded;
use crate::{
    browser::{Browser, Http, ORIGIN, header},
    status::{reason, violations},
    test_device::Device,
};

fn identity(stack: &Stack, http: Http) -> Browser {
    Browser::new(&stack.certificates, stack.identity.listeners.api, http)
}

fn data(stack: &Stack, http: Http) -> Browser {
    Browser::new(&stack.certificates, stack.data.listeners.api, http)
}

#[tokio::test]
async fn a_person_signs_up_on_a_page() {
    let stack = Stack::builder().web_origins(ORIGIN).start().await.unwrap();
    for http in Http::BOTH {
        let page = identity(&stack, http);
        let answer = page
            .call(
                "/haven.identity.v1.AccountService/GetPasswordPolicy",
                &[],
                &encoded(&GetPasswordPolicyRequest::default()),
            )
            .await;
        let _: GetPasswordPolicyResponse = answer.message();
        let email = format!("{}@example.org", random::uuid());
        let sign_up = "/haven.identity.v1.AccountService/SignUp";
        let weak = page
            .call(sign_up, &[], &encoded(&sign_up_request(&email, "short")))
            .await;
        let status = weak.status();
        assert_eq!(reason(&status), "PASSWORD_POLICY");
        assert!(violations(&status).len() >= 3, "{:?}", violations(&status));
        let request = sign_up_request(&email, "Correct-Horse-7-Battery");
        let signed_up: SignUpResponse = page.call(sign_up, &[], &encoded(&request)).await.message();
        // A retry after a lost answer.
        let again: SignUpResponse = page.call(sign_up, &[], &encoded(&request)).await.message();
        assert_eq!(signed_up.account, again.account);
        let taken = page
            .call(
                sign_up,
                &[],
                &encoded(&sign_up_request(&email, "Correct-Horse-7-Battery")),
            )
            .await;
        assert_eq!(reason(&taken.status()), "EMAIL_TAKEN");
    }
}

#[tokio::test]
async fn the_log_says_that_a_call_came_from_a_page() {
    let stack = Stack::builder().web_origins(ORIGIN).start().await.unwrap();
    let ada = stack.person().await.unwrap();
    let token = format!("Bearer {}", ada.token);
    let account = "/haven.identity.v1.AccountService/GetAccount";
    let mut page = identity(&stack, Http::Two);
    page.certificate = Some("backend");
    let headers = [("authorization", token.as_str())];
    let answer = page
        .call(account, &headers, &encoded(&GetAccountRequest::default()))
        .await;
    let id = header(&answer.head, "x-request-id").to_owned();
    let account: GetAccountResponse = answer.message();
    assert_eq!(account.account.unwrap().id, ada.id.to_string());
    let log = stack.identity.output().unwrap();
    let line = log
        .lines()
        .find(|line| line.contains(&id))
        .expect("no line of the call");
    let line: serde_json::Value = serde_json::from_str(line).unwrap();
    assert_eq!(line["protocol"], "grpc-web", "{line}");
    assert_eq!(line["caller"], "user", "{line}");
    assert_eq!(line["service"], serde_json::Value::Null, "{line}");
    let others = log
        .lines()
        .filter(|line| line.contains("SignUp") && line.contains("grpc-web"));
    assert_eq!(others.count(), 0, "a call in gRPC is logged as one of a page");
}

#[tokio::test]
async fn a_page_watches_changes_and_exports_its_data() {
    let stack = Stack::builder().web_origins(ORIGIN).start().await.unwrap();
    let device = Device::invent(&stack).await.unwrap();
    let token = format!("Bearer {}", device.person.token);
    for http in Http::BOTH {
        for content_type in ["application/grpc-web+proto", "application/grpc-web-text"] {
            let mut page = data(&stack, http);
            page.content_type = content_type;
            let headers = [("authorization", token.as_str())];
            let watch = encoded(&WatchChangesRequest {
                device_id: device.id.to_string(),
                cursor: String::new(),
            });
            let mut changes = page
                .open("/haven.data.v1.CycleService/WatchChanges", &headers, &watch)
                .await;
            // What another device does arrives at once.
            let record = device.create(random::uuid(), "A day").unwrap();
            device.client.cycle().create_record(record).await.unwrap();
            let first = timeout(Duration::from_secs(5), changes.message()).await.unwrap();
            let first = WatchChangesResponse::decode(first).unwrap();
            assert!(!first.cursor.is_empty());
            drop(changes);

            let export = encoded(&ExportDataRequest::default());
            let answer = page
                .call("/haven.data.v1.PersonService/ExportData", &headers, &export)
                .await;
            assert_eq!(answer.status().code(), Code::Ok, "{:?}", answer.status());
            let last = answer.messages.last().expect("an empty export").clone();
            let last = ExportDataResponse::decode(last).unwrap();
            assert!(last.manifest.is_some(), "{last:?}");
        }
    }
}

/// Browsers behind a proxy each have their own limits, and state no address themselves.
#[tokio::test]
async fn browsers_behind_a_trusted_proxy_have_their_own_limits() {
    let stack = Stack::builder()
        .web_origins(ORIGIN)
        .variable("identity", "TRUSTED_PROXIES", "127.0.0.9")
        .variable("identity", "CHECK_PASSWORD_LIMITS", "network=2/1h,service=off")
        .start()
        .await
        .unwrap();
    let request = encoded(&CheckPasswordRequest {
        password: "Kite-over-7-harbours".to_owned(),
        ..CheckPasswordRequest::default()
    });
    let check = async |page: &Browser, address: &str| {
        let headers = [("x-forwarded-for", address)];
        let answer = page
            .call(
                "/haven.identity.v1.AccountService/CheckPassword",
                &headers,
                &request,
            )
            .await;
        let status = answer.status();
        if status.code() == Code::Ok {
            return true;
        }
        assert_eq!(reason(&status), "RATE_LIMITED");
        let retry = status.get_details_retry_info().unwrap().retry_delay;
        assert!(retry.is_some(), "{status:?}");
        false
    };
    for (number, http) in (1..).zip(Http::BOTH) {
        let mut proxied = identity(&stack, http);
        proxied.network = 9;
        let (ada, bob) = (format!("198.51.100.{number}"), format!("203.0.113.{number}"));
        for (address, expected) in [
            (&ada, true),
            (&ada, true),
            (&ada, false),
            (&bob, true),
            (&ada, false),
        ] {
            assert_eq!(check(&proxied, address).await, expected, "{http:?} {address}");
        }
        // Not behind the proxy: the address of the socket counts. A certificate of a service does not change that.
        let mut direct = identity(&stack, http);
        direct.network = 20 + number;
        direct.certificate = Some("backend");
        let outcomes = [
            check(&direct, "198.51.100.77").await,
            check(&direct, "198.51.100.78").await,
            check(&direct, "198.51.100.79").await,
        ];
        assert_eq!(outcomes, [true, true, false], "{http:?}");
    }
}
