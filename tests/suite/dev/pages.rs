//! `cargo dev --web`: builds the pages, and serves them with the calls of both services under one origin.

use std::{fs, time::Duration};

use haven_proto::{
    data::v1::{WatchChangesRequest, WatchChangesResponse},
    identity::v1::{CheckPasswordRequest, CheckPasswordResponse},
};
use haven_testkit::{
    Client, certificates::Certificates, encryption::Secret, process::Signal, random, workspace,
};
use http::StatusCode;
use prost::Message;
use tokio::time::timeout;

use super::running::Running;
use crate::{
    browser::{Browser, Http, header},
    test_device::Device,
};

/// The time that a message of a stream may take to arrive.
const SOON: Duration = Duration::from_secs(5);

/// It writes `deploy/web/dist`, so it does not run beside the tests of the pages.
#[tokio::test]
#[ignore = "deploy/web/check runs it, with the packages of the front end"]
async fn cargo_dev_serves_the_pages_and_passes_their_calls_on() {
    let mut running = Running::start(&["--web"], "The pages are at ").await;
    let port = running.port("--web-port");
    let origin = format!("http://localhost:{port}");
    assert!(running.output().contains(&format!("The pages are at {origin}\n")));
    let mut page = Browser::without_tls(port, Http::One);
    page.origin = Some(origin.leak());

    serves_the_built_files(&page).await;
    passes_a_call_on(&page).await;
    passes_a_stream_on(&page, &running).await;

    assert!(
        running.process.stop(Signal::INT, Duration::from_secs(60)),
        "it did not stop in time"
    );
    assert!(running.output().contains("Stopped"), "{}", running.output());
}

/// The files, with the headers of an installation.
async fn serves_the_built_files(page: &Browser) {
    let get = async |path: &str| {
        let request = page.request("GET", path, &[]).body(Vec::new()).unwrap();
        let (head, body) = page.send(request).await;
        assert_eq!(head.status, StatusCode::OK, "{path}");
        (head, String::from_utf8(body.to_vec()).unwrap())
    };
    // The path of a page is no file.
    for path in ["/", "/share"] {
        let (head, body) = get(path).await;
        assert!(body.contains("<script type=\"module\""), "{body}");
        let policy = header(&head, "content-security-policy");
        assert!(policy.contains("default-src 'none'"), "{policy}");
        assert!(!policy.contains("wasm-unsafe-eval"), "{policy}");
        assert_eq!(header(&head, "x-content-type-options"), "nosniff");
        assert_eq!(header(&head, "referrer-policy"), "no-referrer");
    }
    let (_, config) = get("/config.json").await;
    let config: serde_json::Value = serde_json::from_str(&config).unwrap();
    assert_eq!(config, serde_json::json!({"identity": "", "data": ""}));
    // The worker decrypts in WebAssembly, for which it has a policy of its own.
    let assets = fs::read_dir(workspace::root().join("deploy/web/dist/assets")).unwrap();
    let mut names = assets.map(|entry| entry.unwrap().file_name().into_string().unwrap());
    let worker = names.find(|name| name.starts_with("decryption-worker-")).unwrap();
    let (head, _) = get(&format!("/assets/{worker}")).await;
    let policy = header(&head, "content-security-policy");
    assert!(
        policy.contains("script-src 'self' 'wasm-unsafe-eval';"),
        "{policy}"
    );
}

async fn passes_a_call_on(page: &Browser) {
    let request = CheckPasswordRequest {
        password: "Kite-over-7-harbours".to_owned(),
        ..CheckPasswordRequest::default()
    };
    let answer = page
        .call(
            "/haven.identity.v1.AccountService/CheckPassword",
            &[],
            &request.encode_to_vec(),
        )
        .await;
    let answer: CheckPasswordResponse = answer.message();
    assert!(answer.acceptable, "{answer:?}");
}

/// Each message arrives when it is sent, and not with the end of the stream.
async fn passes_a_stream_on(page: &Browser, running: &Running) {
    let certificates = Certificates::keep(&running.state.path().join("dev/certificates")).unwrap();
    let ports = ["--identity-port", "--data-port"].map(|flag| [running.port(flag)]);
    let client = Client::balanced(&certificates, None, &ports[0], &ports[1]).unwrap();
    let person = client.invent().await.unwrap();
    let token = format!("Bearer {}", person.token);
    let client = client.with_token(&person.token).unwrap();
    let device = Device::register(client, person, Secret::generate())
        .await
        .unwrap();
    let watch = WatchChangesRequest {
        device_id: device.id.to_string(),
        cursor: String::new(),
    };
    let headers = [("authorization", token.as_str())];
    let path = "/haven.data.v1.CycleService/WatchChanges";
    let mut changes = page.open(path, &headers, &watch.encode_to_vec()).await;
    for day in ["A day", "The next day"] {
        let id = random::uuid();
        let record = device.create(id, day).unwrap();
        device.client.cycle().create_record(record).await.unwrap();
        let is_there = timeout(SOON, async {
            loop {
                let answer = WatchChangesResponse::decode(changes.message().await).unwrap();
                let mut records = answer.entries.iter().filter_map(|entry| entry.record.as_ref());
                if let Some(record) = records.find(|record| record.record_id == id.to_string()) {
                    return device.open(record).unwrap();
                }
            }
        });
        assert_eq!(is_there.await.unwrap(), day);
    }
}
