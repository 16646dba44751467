//! Compressed requests and answers of both services.

use std::io::Read;

use haven_proto::{
    data::v1::{
        AppendMessageRequest, ExportDataRequest, ListAnalysesRequest, ListConflictsRequest,
        ListMessagesRequest, ListRecordsRequest, PullChangesRequest, PushChangesRequest, PushMode,
        SenderType,
    },
    identity::v1::{ExportAccountRequest, ListAuditEventsRequest},
};
use haven_testkit::{Stack, random};
use prost::Message;
use tonic::codec::CompressionEncoding;

use crate::{
    every_rpc, raw_call,
    raw_call::{exchange, prefixed},
    retry::retry_call,
    status::reason,
    test_device::Device,
};

/// Returns the RPCs that the table of the section "Compression" lists, sorted.
fn documented() -> Vec<String> {
    let page = include_str!("../../../proto/README.md");
    let (_, section) = page.split_once("## Compression").unwrap();
    let (section, _) = section.split_once("\n## ").unwrap();
    let mut rpcs = Vec::new();
    for row in section.lines().filter(|line| line.starts_with("| `haven.")) {
        let cells: Vec<_> = row.trim_matches('|').split('|').map(str::trim).collect();
        let service = cells[0].trim_matches('`');
        rpcs.extend(cells[1].split(", ").map(|rpc| format!("{service}/{rpc}")));
    }
    rpcs.sort();
    rpcs
}

/// What a person might write: no two messages are the same.
fn text(number: usize) -> String {
    let moods = ["calm", "tired", "nervous", "proud", "curious", "lonely", "glad"];
    let places = [
        "the library",
        "a climbing hall",
        "our kitchen",
        "the bus stop",
        "choir practice",
    ];
    format!(
        "On day {number} I went to {} and felt {} at first. Later I asked a person there about their week, and we talked \
         for {} minutes. I noticed that my voice got steadier once I had a question ready. {}",
        places[number % places.len()],
        moods[number % moods.len()],
        number * 7 % 45 + 3,
        "Next time I would like to stay until the end. ".repeat(number % 3),
    )
}

/// The messages of an answer: how they were sent, and their sizes.
#[derive(Debug)]
struct Answer {
    encoding: Option<String>,
    sent: usize,
    messages: Vec<Vec<u8>>,
}

/// Calls `path` with the encoded `request`, as a client that reads `accepted`.
async fn call(device: &Device, path: &str, accepted: &str, request: &[u8]) -> Answer {
    let call = http::Request::post(format!("https://localhost/{path}"))
        .header("content-type", "application/grpc")
        .header("te", "trailers")
        .header("grpc-accept-encoding", accepted)
        .body(prefixed(0, request.len(), request))
        .unwrap();
    let connection = device.client.connection(every_rpc::server_of(path));
    let (head, body, trailers) = exchange(connection, call).await;
    let status = trailers.get("grpc-status").map(|status| status.to_str().unwrap());
    assert_eq!(status, Some("0"), "{path}: {:?}", head.headers);
    let encoding = head.headers.get("grpc-encoding");
    let encoding = encoding.map(|encoding| encoding.to_str().unwrap().to_owned());
    let (mut rest, mut messages) = (&body[..], Vec::new());
    while let Some((prefix, after)) = rest.split_first_chunk::<5>() {
        let length = u32::from_be_bytes(prefix[1..].try_into().unwrap()) as usize;
        let (message, after) = after.split_at(length);
        rest = after;
        messages.push(match (prefix[0], encoding.as_deref()) {
            (0, _) => message.to_vec(),
            (_, Some("zstd")) => zstd::decode_all(message).unwrap(),
            (_, Some("gzip")) => {
                let mut read = Vec::new();
                let mut decoder = flate2::read::GzDecoder::new(message);
                decoder.read_to_end(&mut read).unwrap();
                read
            }
            other => panic!("{path}: {other:?}"),
        });
    }
    Answer {
        encoding,
        sent: body.len(),
        messages,
    }
}

#[tokio::test]
async fn large_answers_to_a_person_are_compressed() {
    let stack = Stack::shared().await.unwrap();
    let phone = Device::invent(stack).await.unwrap();
    for number in 0..60 {
        let request = AppendMessageRequest {
            sender_type: SenderType::User.into(),
            text: text(number),
            request_id: random::uuid().to_string(),
            ..AppendMessageRequest::default()
        };
        let mut conversation = phone
            .client
            .conversation()
            .send_compressed(CompressionEncoding::Gzip);
        retry_call(request, async |request| {
            conversation.append_message(request).await
        })
        .await
        .unwrap();
    }
    let changes = (0..60).map(|number| {
        let content = format!(r#"{{"flow":{},"mood":"{}"}}"#, number % 5, number % 7);
        phone.put(random::uuid(), 0, &content).unwrap()
    });
    let push = PushChangesRequest {
        device_id: phone.id.to_string(),
        changes: changes.collect(),
        mode: PushMode::Atomic.into(),
        request_id: random::uuid().to_string(),
    };
    let mut cycle = phone.client.cycle().send_compressed(CompressionEncoding::Zstd);
    retry_call(push, async |push| cycle.push_changes(push).await)
        .await
        .unwrap();

    let pull = PullChangesRequest {
        device_id: phone.id.to_string(),
        ..PullChangesRequest::default()
    };
    let records = ListRecordsRequest {
        page_size: 60,
        ..ListRecordsRequest::default()
    };
    let messages = ListMessagesRequest {
        page_size: 60,
        ..ListMessagesRequest::default()
    };
    let data_audit = haven_proto::data::v1::ListAuditEventsRequest::default();
    let calls = [
        (
            "haven.data.v1.ConversationService/ListMessages",
            messages.encode_to_vec(),
            0.5,
        ),
        (
            "haven.data.v1.PersonService/ExportData",
            ExportDataRequest::default().encode_to_vec(),
            0.8,
        ),
        (
            "haven.data.v1.CycleService/ListRecords",
            records.encode_to_vec(),
            0.8,
        ),
        (
            "haven.data.v1.CycleService/PullChanges",
            pull.encode_to_vec(),
            0.8,
        ),
        // These have little to send here.
        (
            "haven.data.v1.CycleService/ListConflicts",
            ListConflictsRequest::default().encode_to_vec(),
            1.0,
        ),
        (
            "haven.data.v1.AnalysisService/ListAnalyses",
            ListAnalysesRequest::default().encode_to_vec(),
            1.0,
        ),
        (
            "haven.data.v1.PersonService/ListAuditEvents",
            data_audit.encode_to_vec(),
            1.0,
        ),
        (
            "haven.identity.v1.AccountService/ListAuditEvents",
            ListAuditEventsRequest::default().encode_to_vec(),
            1.0,
        ),
        (
            "haven.identity.v1.AccountService/ExportAccount",
            ExportAccountRequest::default().encode_to_vec(),
            1.0,
        ),
    ];
    let mut called = calls.each_ref().map(|(path, ..)| path.to_string());
    called.sort();
    assert_eq!(called.to_vec(), documented());
    for (path, request, smaller_to) in calls {
        for (accepted, expected) in [("identity, deflate, gzip", "gzip"), ("gzip, zstd", "zstd")] {
            let answer = call(&phone, path, accepted, &request).await;
            assert_eq!(answer.encoding.as_deref(), Some(expected), "{path}");
            // Called afterwards, because an export adds an event to the next one.
            let plain = call(&phone, path, "identity", &request).await;
            assert_eq!(plain.encoding, None, "{path}");
            let ratio = answer.sent as f64 / plain.sent as f64;
            eprintln!(
                "{path} {expected}: {} of {} bytes, {ratio:.2}",
                answer.sent, plain.sent
            );
            assert!(ratio <= smaller_to, "{path} {expected}: {ratio:.2}");
            // Page tokens and cursors are sealed again for each answer, and an export adds to the audit log.
            let sizes = |answer: &Answer| answer.messages.iter().map(Vec::len).sum::<usize>();
            let difference = sizes(&answer).abs_diff(sizes(&plain));
            assert!(
                difference <= 1_000,
                "{path}: {} and {}",
                sizes(&answer),
                sizes(&plain)
            );
        }
    }
    let sessions = call(
        &phone,
        "haven.identity.v1.SessionService/ListSessions",
        "gzip, zstd",
        b"",
    )
    .await;
    assert_eq!(
        sessions.encoding, None,
        "an answer that is not listed was compressed"
    );
}

/// A new service whose server does not read them would fail here.
#[tokio::test]
async fn every_rpc_reads_compressed_requests() {
    let stack = Stack::shared().await.unwrap();
    let person = stack.person().await.unwrap();
    for rpc in every_rpc::rpcs() {
        let server = every_rpc::server_of(&rpc);
        let client = stack.service(every_rpc::service_of(&rpc)).unwrap();
        let client = client.with_token(&person.token).unwrap();
        for (encoding, broken) in [("gzip", &b"abc"[..]), ("zstd", b"abc")] {
            let request = http::Request::post(format!("https://localhost/{rpc}"))
                .header("content-type", "application/grpc")
                .header("te", "trailers")
                .header("grpc-encoding", encoding)
                .body(prefixed(1, broken.len(), broken))
                .unwrap();
            let (_, status, _) = raw_call::request(client.connection(server), request).await;
            let status = status.unwrap_or_else(|| panic!("{rpc}: no status"));
            // It tried to decompress the request. A server that does not know the compression is UNIMPLEMENTED.
            assert_eq!(reason(&status), "INVALID_FIELD", "{rpc}, {encoding}");
        }
    }
}
