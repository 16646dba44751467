//! Restarts: calls through the retry layer while a service restarts, and a rolling restart of both services under load, in the
//! middle of an upgrade of their schemas.

use std::{
    collections::BTreeMap,
    sync::{
        Arc,
        atomic::{AtomicBool, AtomicU64, Ordering},
    },
    time::Instant,
};

use haven_proto::{
    data::v1::{
        AppendMessageRequest, ListMessagesRequest, SenderType,
        conversation_service_client::ConversationServiceClient,
    },
    identity::v1::{
        ConsentGrant, GetAccountRequest, GrantConsentRequest, account_service_client::AccountServiceClient,
    },
};
use haven_testkit::{
    Person, Stack, client,
    port::Port,
    random,
    retry::{RetryLayer, config::ServiceConfig},
    service::Service,
    service_config,
};
use prost::Message;
use tonic::{Request, Status, metadata::AsciiMetadataValue};
use tower::Layer;

use super::grpcio::{Call, Program, Settings, hex};
use crate::{
    eventually::eventually,
    newer_program::{ADDED, NewerProgram},
    replica::replica,
    superuser_sql::scalar,
};

/// The callers of each library.
const CALLERS: usize = 4;

fn config() -> ServiceConfig {
    ServiceConfig::read(&service_config::path()).unwrap()
}

fn message() -> AppendMessageRequest {
    AppendMessageRequest {
        sender_type: SenderType::User.into(),
        text: "hello".into(),
        message_id: String::new(),
        request_id: random::uuid().to_string(),
    }
}

fn consent() -> GrantConsentRequest {
    GrantConsentRequest {
        consent: Some(ConsentGrant {
            document: "newsletter".to_owned(),
            document_version: "2026-01".to_owned(),
        }),
        request_id: random::uuid().to_string(),
    }
}

/// Returns an interceptor that adds the person's token.
fn token(person: &Person) -> impl FnMut(Request<()>) -> Result<Request<()>, Status> + Clone + use<> {
    let token: AsciiMetadataValue = format!("Bearer {}", person.token).parse().unwrap();
    move |mut request| {
        request.metadata_mut().insert("authorization", token.clone());
        Ok(request)
    }
}

#[tokio::test]
async fn a_call_through_the_layer_waits_for_a_service_that_restarts() {
    let mut stack = Stack::start().await.unwrap();
    let person = stack.person().await.unwrap();
    let connection = stack.user(&person).unwrap().connection("data");
    let mut conversation = ConversationServiceClient::new(RetryLayer::new(config()).layer(connection));
    for kill in [false, true] {
        match kill {
            true => stack.data.kill(),
            false => assert!(stack.data.stop()),
        }
        let mut waiting = conversation.clone();
        let call = tokio::spawn(async move { waiting.append_message(message()).await });
        stack.data.start().await.unwrap();
        call.await.unwrap().unwrap();
        conversation.append_message(message()).await.unwrap();
    }
    let stored: i64 = scalar(&stack.database, "SELECT count(*) FROM data.conversations").await;
    assert_eq!(stored, 4);
}

/// The load of callers with tonic. Each call fails the test.
#[derive(Clone)]
struct Load {
    ended: Arc<AtomicBool>,
    calls: Arc<AtomicU64>,
}

impl Load {
    /// Waits until each caller has called each RPC again.
    async fn goes_on(&self) {
        let before = self.calls.load(Ordering::Relaxed);
        let more = before + 8 * CALLERS as u64;
        eventually("the load goes on", async || {
            self.calls.load(Ordering::Relaxed) >= more
        })
        .await;
    }

    /// Calls both services in turn until the load ends. Returns the failures.
    async fn run(
        self,
        stack: &Stack,
        person: &Person,
        identity: &[u16],
        data: &[u16],
    ) -> tokio::task::JoinHandle<Vec<Status>> {
        let layers = [identity, data].map(|ports| {
            let channel = client::channel(&stack.certificates, None, ports).unwrap();
            RetryLayer::new(config()).layer(channel)
        });
        let [identity, data] = layers;
        let mut account = AccountServiceClient::with_interceptor(identity, token(person));
        let mut conversation = ConversationServiceClient::with_interceptor(data, token(person));
        tokio::spawn(async move {
            let mut failures = Vec::new();
            while !self.ended.load(Ordering::Relaxed) {
                let outcomes = [
                    account.get_account(GetAccountRequest::default()).await.map(drop),
                    account.grant_consent(consent()).await.map(drop),
                    conversation.append_message(message()).await.map(drop),
                    conversation
                        .list_messages(ListMessagesRequest::default())
                        .await
                        .map(drop),
                ];
                self.calls.fetch_add(4, Ordering::Relaxed);
                failures.extend(outcomes.into_iter().filter_map(Result::err));
            }
            failures
        })
    }
}

/// Returns the settings of the same load with grpcio.
fn python(stack: &Stack, person: &Person, identity: &[u16], data: &[u16]) -> Settings {
    let target = |ports: &[u16]| {
        let addresses: Vec<String> = ports.iter().map(|port| format!("127.0.0.1:{port}")).collect();
        format!("ipv4:{}", addresses.join(","))
    };
    let call = |channel, rpc: &str, request: Vec<u8>, request_id_field| Call {
        channel,
        path: format!("/haven.{channel}.v1.{rpc}"),
        request: hex(&request),
        request_id_field,
        padding: 0,
        metadata: vec![("authorization", format!("Bearer {}", person.token))],
        timeout: Some(30.0),
    };
    // The program adds the request id, which the request must lack.
    let message = AppendMessageRequest {
        request_id: String::new(),
        ..message()
    };
    let consent = GrantConsentRequest {
        request_id: String::new(),
        ..consent()
    };
    Settings {
        authority: stack.certificates.authority(),
        service_config: service_config::path(),
        retry_buffer: None,
        targets: BTreeMap::from([("identity", target(identity)), ("data", target(data))]),
        callers: CALLERS,
        calls: vec![
            call("identity", "AccountService/GetAccount", Vec::new(), None),
            call(
                "identity",
                "AccountService/GrantConsent",
                consent.encode_to_vec(),
                Some(2),
            ),
            call(
                "data",
                "ConversationService/AppendMessage",
                message.encode_to_vec(),
                Some(4),
            ),
            call("data", "ConversationService/ListMessages", Vec::new(), None),
        ],
    }
}

// Several threads: the test blocks one while it waits for a process, and the callers need another.
#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn no_call_fails_while_the_replicas_restart_one_after_the_other_and_the_schemas_are_upgraded() {
    let mut stack = Stack::start().await.unwrap();
    let ports = [[(); 3]; 2].map(|ports| ports.map(|()| Port::reserve().unwrap()));
    let mut second_identity = replica(&stack.identity, &ports[0]).await;
    let mut second_data = replica(&stack.data, &ports[1]).await;
    let person = stack.person().await.unwrap();
    let identity = [stack.identity.listeners.api, second_identity.listeners.api];
    let data = [stack.data.listeners.api, second_data.listeners.api];

    let Some(program) = Program::start(&python(&stack, &person, &identity, &data)) else {
        return;
    };
    let load = Load {
        ended: Arc::default(),
        calls: Arc::default(),
    };
    let mut callers = Vec::new();
    for _ in 0..CALLERS {
        callers.push(load.clone().run(&stack, &person, &identity, &data).await);
    }
    let database = stack.database.clone();
    let began = Instant::now();
    let replicas: [&mut Service; 4] = [
        &mut stack.identity,
        &mut second_identity,
        &mut stack.data,
        &mut second_data,
    ];
    for (index, replica) in replicas.into_iter().enumerate() {
        assert!(replica.stop(), "{} did not stop by itself", replica.name);
        load.goes_on().await;
        if index % 2 == 1 {
            // The second replica of each service finds a newer schema, and the first goes on serving from it.
            let newer = NewerProgram::new(replica.name);
            newer.migrate(&database, ADDED).await;
        }
        replica.start().await.unwrap();
        load.goes_on().await;
    }
    for replica in [&second_identity, &second_data] {
        let log = replica.output().unwrap();
        assert!(
            log.contains("the schema is newer than this program"),
            "{}",
            replica.name
        );
    }
    load.ended.store(true, Ordering::Relaxed);
    for caller in callers {
        let failures = caller.await.unwrap();
        assert!(
            failures.is_empty(),
            "{} calls failed: {:?}",
            failures.len(),
            failures[0]
        );
    }
    let report = program.end().await;
    let calls = load.calls.load(Ordering::Relaxed);
    eprintln!(
        "{:?}: {calls} calls with tonic; with grpcio {:?}",
        began.elapsed(),
        report.outcomes
    );
    assert_eq!(report.outcomes.keys().collect::<Vec<_>>(), ["OK"]);
    // Each message was appended once: a quarter of the calls of both.
    let stored: i64 = scalar(&stack.database, "SELECT count(*) FROM data.conversations").await;
    assert_eq!(stored as u64, (calls + report.outcomes["OK"]) / 4);
}
