//! One canonical line for each call, under the id that its caller knows.

use haven_proto::{data::v1::ListMessagesRequest, identity::v1::GetSigningKeysRequest};
use haven_testkit::{Stack, client::Connection, random};
use prost::Message;
use tonic::metadata::MetadataMap;
use tonic_types::StatusExt;

use super::log_lines::{belongs, calls, lines};
use crate::{
    raw_call::{self, headers},
    superuser_sql::execute,
};

const KEYS: &str = "/haven.identity.v1.SessionService/GetSigningKeys";
const LIST: &str = "/haven.data.v1.ConversationService/ListMessages";

/// Calls with these headers; returns the answer's `x-request-id`, which is the one of the status as well.
async fn call(connection: Connection, path: &str, sent: MetadataMap) -> String {
    let id = |headers: &MetadataMap| headers.get("x-request-id").unwrap().to_str().unwrap().to_owned();
    let body = ListMessagesRequest::default().encode_to_vec();
    match raw_call::call(connection, path, sent, body).await {
        Ok(answer) => id(answer.metadata()),
        Err(status) => {
            let details = status.get_error_details();
            let told = details.request_info().unwrap().request_id.clone();
            assert_eq!(told, id(status.metadata()), "{status:?}");
            told
        }
    }
}

#[tokio::test]
async fn every_call_is_one_line_under_its_id() {
    let stack = Stack::start().await.unwrap();
    let ada = stack.person().await.unwrap();
    let nobody = || stack.anonymous().unwrap();
    let backend = || stack.service("backend").unwrap();
    let person = || stack.user(&ada).unwrap();
    let both = backend().with_token(&ada.token).unwrap();
    for (client, service, path, code, reason, kind, name) in [
        (nobody(), &stack.identity, KEYS, "Ok", "", "anonymous", None),
        (
            backend(),
            &stack.identity,
            KEYS,
            "Ok",
            "",
            "service",
            Some("backend"),
        ),
        (person(), &stack.data, LIST, "Ok", "", "user", None),
        (both, &stack.data, LIST, "Ok", "", "user", Some("backend")),
        (
            nobody(),
            &stack.data,
            LIST,
            "Unauthenticated",
            "TOKEN_INVALID",
            "anonymous",
            None,
        ),
    ] {
        let id = call(client.connection(service.name), path, headers(&[])).await;
        let found = calls(service, &id).await;
        assert_eq!(found.len(), 1, "{found:?}");
        let line = &found[0];
        assert_eq!(line["spans"][0]["rpc"], &path[1..], "{line}");
        assert_eq!(
            (line["level"].as_str(), line["code"].as_str()),
            (Some("INFO"), Some(code)),
            "{line}"
        );
        assert_eq!(line["reason"], reason, "{line}");
        assert_eq!(
            (line["caller"].as_str(), line["service"].as_str()),
            (Some(kind), name),
            "{line}"
        );
        assert!(
            line["duration_ms"].as_f64().is_some_and(|millis| millis > 0.0),
            "{line}"
        );
        assert!(
            line["timestamp"].as_str().is_some_and(|time| time.ends_with('Z')),
            "{line}"
        );
        let said = lines(service);
        assert_eq!(
            said.iter().filter(|line| belongs(line, &id)).count(),
            1,
            "more is said of {id}"
        );
    }
    let unknown = call(
        nobody().connection("identity"),
        "/no.such.Service/Nothing",
        headers(&[]),
    )
    .await;
    let found = calls(&stack.identity, &unknown).await;
    assert_eq!(found[0]["spans"][0]["rpc"], "unknown");
    assert_eq!(found[0]["code"], "Unimplemented");
}

#[tokio::test]
async fn a_callers_id_is_kept_if_it_is_a_uuid_and_nothing_else() {
    let stack = Stack::start().await.unwrap();
    let connection = || stack.anonymous().unwrap().connection("identity");
    for path in [KEYS, "/no.such.Service/Nothing"] {
        let own = random::uuid().to_string();
        assert_eq!(
            call(connection(), path, headers(&[("x-request-id", &own)])).await,
            own
        );
        let capitals = headers(&[("x-request-id", &own.to_uppercase())]);
        assert_eq!(call(connection(), path, capitals).await, own);
        for other in ["ada@example.org", "1", "", &format!("{own}x"), &own[1..]] {
            let made = call(connection(), path, headers(&[("x-request-id", other)])).await;
            assert_ne!(made, other);
            assert!(uuid::Uuid::try_parse(&made).is_ok(), "{made}");
        }
    }
}

/// Whoever logs little needs the little that is logged to be found.
#[tokio::test]
async fn the_cause_of_a_failure_is_found_under_its_id_at_every_level() {
    let stack = Stack::builder()
        .variable("data", "LOG_FILTER", "error")
        .start()
        .await
        .unwrap();
    let ada = stack.person().await.unwrap();
    execute(
        &stack.database,
        "REVOKE SELECT ON data.conversations FROM data_user",
    )
    .await;
    let id = call(stack.user(&ada).unwrap().connection("data"), LIST, headers(&[])).await;
    let said = lines(&stack.data);
    let causes: Vec<_> = said.iter().filter(|line| line["level"] == "ERROR").collect();
    assert_eq!(causes.len(), 1, "{said:?}");
    assert!(belongs(causes[0], &id), "{id} is not in {}", causes[0]);
    assert_eq!(causes[0]["reason"], "INTERNAL");
    assert!(
        causes[0]["cause"]
            .as_str()
            .is_some_and(|cause| cause.contains("42501")),
        "{}",
        causes[0]
    );
}

#[tokio::test]
async fn for_people_the_same_is_said_in_words() {
    let stack = Stack::builder()
        .variable("identity", "LOG_FORMAT", "pretty")
        .start()
        .await
        .unwrap();
    let keys = GetSigningKeysRequest {};
    let answer = stack
        .anonymous()
        .unwrap()
        .session()
        .get_signing_keys(keys)
        .await
        .unwrap();
    let id = answer
        .metadata()
        .get("x-request-id")
        .unwrap()
        .to_str()
        .unwrap()
        .to_owned();
    crate::eventually::eventually("the line", async || {
        stack.identity.output().unwrap().contains(&id)
    })
    .await;
    let output = stack.identity.output().unwrap();
    let line = output.lines().find(|line| line.contains(&id)).unwrap();
    assert!(
        line.contains(&KEYS[1..]) && line.contains("Ok") && line.contains("INFO"),
        "{line}"
    );
    assert!(serde_json::from_str::<serde_json::Value>(line).is_err(), "{line}");
}
