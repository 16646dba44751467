//! Request log: one canonical line for each call, with the request id that the caller gets.

use haven_proto::{data::v1::ListMessagesRequest, identity::v1::GetSigningKeysRequest};
use haven_testkit::{Stack, client::Connection, random};
use prost::Message;
use tonic::metadata::MetadataMap;
use tonic_types::StatusExt;

use super::log_lines::{belongs, calls, calls_of, lines};
use crate::{
    eventually::eventually,
    raw_call::{self, headers},
    superuser_sql::execute,
};

/// RPC of identity that any caller may call.
const KEYS: &str = "/haven.identity.v1.SessionService/GetSigningKeys";
/// RPC of identity that a service may call.
const ACCOUNTS: &str = "/haven.identity.v1.AccountService/ListAccounts";
/// RPC of identity that data calls in the background.
const ENDED: &str = "/haven.identity.v1.SessionService/ListEndedSessions";
/// RPC of data that needs a token.
const LIST: &str = "/haven.data.v1.ConversationService/ListMessages";

/// Makes a call with these headers. Returns the `x-request-id` of the response, which must equal the one in the status
/// details.
async fn call(connection: Connection, path: &str, request_headers: MetadataMap) -> String {
    let id = |headers: &MetadataMap| headers.get("x-request-id").unwrap().to_str().unwrap().to_owned();
    let body = ListMessagesRequest::default().encode_to_vec();
    match raw_call::call(connection, path, request_headers, body).await {
        Ok(answer) => id(answer.metadata()),
        Err(status) => {
            let details = status.get_error_details();
            let in_details = details.request_info().unwrap().request_id.clone();
            assert_eq!(in_details, id(status.metadata()), "{status:?}");
            in_details
        }
    }
}

#[tokio::test]
async fn every_call_is_logged_as_one_line_with_its_request_id() {
    let stack = Stack::start().await.unwrap();
    let ada = stack.person().await.unwrap();
    let anonymous = || stack.anonymous().unwrap();
    let backend = || stack.service("backend").unwrap();
    let person = || stack.user(&ada).unwrap();
    let both = backend().with_token(&ada.token).unwrap();
    for (client, service, path, code, reason, kind, name) in [
        (anonymous(), &stack.identity, KEYS, "Ok", "", "anonymous", None),
        (
            backend(),
            &stack.identity,
            ACCOUNTS,
            "Ok",
            "",
            "service",
            Some("backend"),
        ),
        (person(), &stack.data, LIST, "Ok", "", "user", None),
        (both, &stack.data, LIST, "Ok", "", "user", Some("backend")),
        (
            anonymous(),
            &stack.data,
            LIST,
            "Unauthenticated",
            "TOKEN_INVALID",
            "anonymous",
            None,
        ),
    ] {
        let id = call(client.connection(service.name), path, headers(&[])).await;
        let logged = calls(service, &id).await;
        assert_eq!(logged.len(), 1, "{logged:?}");
        let line = &logged[0];
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
        let all_lines = lines(service);
        assert_eq!(
            all_lines.iter().filter(|line| belongs(line, &id)).count(),
            1,
            "not exactly one line of {id}"
        );
    }
    let unknown = call(
        anonymous().connection("identity"),
        "/no.such.Service/Nothing",
        headers(&[]),
    )
    .await;
    let logged = calls(&stack.identity, &unknown).await;
    assert_eq!(logged[0]["spans"][0]["rpc"], "unknown");
    assert_eq!(logged[0]["code"], "Unimplemented");
}

#[tokio::test]
async fn successful_background_calls_of_services_are_logged_at_debug_only() {
    let stack = Stack::builder()
        .variable("identity", "LOG_FILTER", "info,haven_platform=debug")
        .start()
        .await
        .unwrap();
    for (client, level, code) in [
        (stack.service("data").unwrap(), "DEBUG", "Ok"),
        (stack.service("stranger").unwrap(), "INFO", "PermissionDenied"),
    ] {
        let id = call(client.connection("identity"), ENDED, headers(&[])).await;
        let logged = calls(&stack.identity, &id).await;
        assert_eq!(
            (logged[0]["level"].as_str(), logged[0]["code"].as_str()),
            (Some(level), Some(code))
        );
    }
    // A person's call is logged, whichever RPC it is.
    let id = call(
        stack.anonymous().unwrap().connection("identity"),
        KEYS,
        headers(&[]),
    )
    .await;
    assert_eq!(calls(&stack.identity, &id).await[0]["level"], "INFO");
    eventually("data called in the background", async || {
        let calls = calls_of(&stack.identity, &ENDED[1..]);
        calls
            .iter()
            .any(|line| line["service"] == "data" && line["level"] == "DEBUG")
    })
    .await;
}

#[tokio::test]
async fn a_request_id_of_the_caller_is_kept_if_it_is_a_uuid() {
    let stack = Stack::shared().await.unwrap();
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

/// With a filter that logs little, the cause of a failure must still be found by its request id.
#[tokio::test]
async fn the_cause_of_a_failure_is_logged_with_its_request_id_at_every_level() {
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
    eventually("the cause is logged", async || {
        lines(&stack.data).iter().any(|line| line["level"] == "ERROR")
    })
    .await;
    let all_lines = lines(&stack.data);
    let causes: Vec<_> = all_lines.iter().filter(|line| line["level"] == "ERROR").collect();
    assert_eq!(causes.len(), 1, "{all_lines:?}");
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
async fn the_pretty_format_has_the_same_line_as_text() {
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
    eventually("the line", async || {
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
