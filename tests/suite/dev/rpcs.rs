//! Every RPC of the contracts can be called from JSON.

use haven_proto::{access::v1::Access, identity::v1::DeleteAccountRequest};
use haven_testkit::{Stack, random};
use prost_reflect::{DescriptorPool, DynamicMessage, MethodDescriptor};

use super::announced::Announced;
use crate::{every_rpc, permissions::fixture::Fixture};

/// Returns the access option of an RPC.
pub(super) fn access(rpc: &MethodDescriptor) -> Access {
    let option = rpc.parent_pool().get_extension_by_name("haven.access.v1.access");
    let number = rpc.options().get_extension(&option.unwrap()).as_enum_number();
    Access::try_from(number.unwrap()).unwrap()
}

/// Returns all RPCs of Haven.
pub(super) fn all() -> Vec<MethodDescriptor> {
    let pool = DescriptorPool::decode(haven_proto::FILE_DESCRIPTOR_SET).unwrap();
    let services = pool.services();
    services
        .flat_map(|service| service.methods().collect::<Vec<_>>())
        .collect()
}

/// Returns the short name of an RPC: `AccountService/SignUp`.
pub(super) fn name(rpc: &MethodDescriptor) -> String {
    format!("{}/{}", rpc.parent_service().name(), rpc.name())
}

#[tokio::test]
async fn every_rpc_is_called_by_its_name_with_json() {
    let stack = Stack::start().await.unwrap();
    let announced = Announced::new(&stack);
    let rpcs = all();
    assert!(rpcs.len() > 40);
    let mut failures = Vec::new();
    for rpc in rpcs {
        let full_name = format!("{}/{}", rpc.parent_service().full_name(), rpc.name());
        let as_service = access(&rpc) == Access::Service;
        let fixture = Fixture::of_new_person(&stack, &full_name).await;
        let Some(body) = every_rpc::request(&full_name, &fixture.subject(as_service)) else {
            panic!("add a request for {full_name} to `every_rpc`")
        };
        if rpc.name() == "GetDeletion" {
            let request = DeleteAccountRequest {
                user_id: fixture.person.id.to_string(),
                password: fixture.person.password.clone(),
                request_id: random::uuid().to_string(),
            };
            let client = stack.user(&fixture.person).unwrap();
            client.account().delete_account(request).await.unwrap();
        }
        let request = DynamicMessage::decode(rpc.input(), body.as_slice()).unwrap();
        let request = serde_json::to_string(&request).unwrap();
        let token = format!("Authorization: Bearer {}", fixture.person.token);
        let rpc_name = name(&rpc);
        let mut arguments = vec!["--timeout", "20s", rpc_name.as_str(), &request];
        match access(&rpc) {
            Access::Service => arguments.extend(["--service", every_rpc::service_of(&full_name)]),
            Access::User | Access::UserOrService => arguments.extend(["--header", &token]),
            Access::Anyone | Access::Unspecified => {}
        }
        if rpc.is_server_streaming() {
            arguments.extend(["--limit", "1"]);
        }
        let printed = announced.call(&arguments);
        if printed.code != 0 {
            failures.push(printed.error);
            continue;
        }
        DynamicMessage::deserialize(rpc.output(), printed.value()).unwrap();
    }
    assert!(failures.is_empty(), "{}", failures.join("\n"));
}

#[tokio::test]
async fn a_stream_is_printed_message_by_message_until_it_ends_or_reaches_the_limit() {
    let stack = Stack::shared().await.unwrap();
    let announced = Announced::new(stack);
    let ada = stack.person().await.unwrap();
    let token = format!("authorization: Bearer {}", ada.token);
    let append = r#"{"sender_type": "SENDER_TYPE_USER", "text": "hello"}"#;
    announced.call(&["AppendMessage", "-H", &token, append]).value();

    let whole = announced.call(&["ExportData", "-H", &token, "--compact"]);
    let values = whole.values();
    assert!(values.len() > 1, "{}", whole.output);
    assert_eq!(whole.output.lines().count(), values.len());
    assert!(whole.output.contains("\"hello\""), "{}", whole.output);

    let first = announced.call(&["ExportData", "-H", &token, "--limit", "1"]);
    // The token to resume from has the time of its own export.
    assert_eq!(first.value()["messages"], values[0]["messages"]);
    assert!(first.output.lines().count() > 1, "{}", first.output);
}

#[tokio::test]
async fn health_and_reflection_are_called_like_any_rpc() {
    let stack = Stack::shared().await.unwrap();
    let announced = Announced::new(stack);
    let ready = r#"{"service": "haven.data.v1.CycleService"}"#;
    let serving = announced.call(&["Health/Check", ready]).value();
    assert_eq!(serving["status"], "SERVING");
    announced.call(&["Health/Check"]).failed(2, &["--server"]);
    let live = announced.call(&["health/watch", "--server", "identity", "--limit", "1"]);
    assert_eq!(live.value()["status"], "SERVING");

    // It takes a stream: two questions, two answers.
    let questions = r#"{"listServices": ""} {"fileContainingSymbol": "haven.data.v1.CycleService"}"#;
    let answers = announced
        .call(&["ServerReflectionInfo", "--server", "data", questions])
        .values();
    assert_eq!(answers.len(), 2);
    assert!(
        answers[0]["listServicesResponse"]
            .to_string()
            .contains("haven.data.v1.CycleService")
    );
    assert!(!answers[1]["fileDescriptorResponse"]["fileDescriptorProto"].is_null());
}
