//! The permission ratchet: every RPC of the descriptors, called by everybody; the outcomes are a snapshot.
//!
//! A new RPC fails this test until [`call`] says how it is called, and its row is in the snapshot.

use haven_platform::reason::Reason;
use haven_proto::{
    data::v1::{
        AppendMessageRequest, GetMessageRequest, ListMessagesRequest, ProvisionUserRequest, SenderType,
    },
    identity::v1::{GetSigningKeysRequest, SignInRequest},
};
use haven_testkit::{Client, Person, Stack, client::sign_up_request, random};
use prost_reflect::DescriptorPool;
use tonic::Status;

use crate::status::reason;

/// Whose things are asked for: the right person's.
struct Belongings {
    person: Person,
    message_id: String,
}

/// Calls `rpc` about the right person's belongings. None: nobody has said yet how.
async fn call(rpc: &str, client: &Client, belongings: &Belongings) -> Option<Result<(), Status>> {
    let request_id = random::uuid().to_string();
    let outcome = match rpc {
        "haven.identity.v1.AccountService/SignUp" => {
            let email = format!("{}@example.org", random::uuid());
            let request = sign_up_request(&email, "Correct-Horse-7-Battery");
            client.account().sign_up(request).await.map(drop)
        }
        "haven.identity.v1.SessionService/SignIn" => {
            let Person { email, password, .. } = belongings.person.clone();
            client
                .session()
                .sign_in(SignInRequest {
                    email,
                    password,
                    request_id,
                })
                .await
                .map(drop)
        }
        "haven.identity.v1.SessionService/GetSigningKeys" => client
            .session()
            .get_signing_keys(GetSigningKeysRequest {})
            .await
            .map(drop),
        "haven.data.v1.ConversationService/AppendMessage" => {
            let request = AppendMessageRequest {
                sender_type: SenderType::User.into(),
                text: "hello".into(),
                message_id: String::new(),
                request_id,
            };
            client.conversation().append_message(request).await.map(drop)
        }
        "haven.data.v1.ConversationService/GetMessage" => {
            let request = GetMessageRequest {
                message_id: belongings.message_id.clone(),
            };
            client.conversation().get_message(request).await.map(drop)
        }
        "haven.data.v1.ConversationService/ListMessages" => client
            .conversation()
            .list_messages(ListMessagesRequest::default())
            .await
            .map(drop),
        "haven.data.v1.PersonService/ProvisionUser" => {
            let request = ProvisionUserRequest {
                user_id: random::uuid().to_string(),
                request_id,
            };
            client.person().provision_user(request).await.map(drop)
        }
        _ => return None,
    };
    Some(outcome)
}

/// Every RPC of our own services, by its full name.
pub(crate) fn rpcs() -> Vec<String> {
    let pool = DescriptorPool::decode(haven_proto::FILE_DESCRIPTOR_SET).unwrap();
    let mut rpcs: Vec<_> = pool
        .services()
        .flat_map(|service| {
            service
                .methods()
                .map(|rpc| (rpc, service.clone()))
                .collect::<Vec<_>>()
        })
        .map(|(rpc, service)| format!("{}/{}", service.full_name(), rpc.name()))
        .collect();
    rpcs.sort();
    assert!(!rpcs.is_empty());
    rpcs
}

#[tokio::test]
async fn who_may_call_what() {
    let stack = Stack::start().await.unwrap();
    let (right, wrong) = (stack.person().await.unwrap(), stack.person().await.unwrap());
    let append = AppendMessageRequest {
        sender_type: SenderType::User.into(),
        text: "mine".into(),
        message_id: String::new(),
        request_id: random::uuid().to_string(),
    };
    let message = stack
        .user(&right)
        .unwrap()
        .conversation()
        .append_message(append)
        .await
        .unwrap();
    let message_id = message.into_inner().message.unwrap().id;
    let callers = [
        ("nobody", stack.anonymous().unwrap()),
        ("the wrong person", stack.user(&wrong).unwrap()),
        ("the right person", stack.user(&right).unwrap()),
        ("a listed service", stack.service("backend").unwrap()),
        ("an unlisted service", stack.service("stranger").unwrap()),
    ];
    let belongings = Belongings {
        person: right,
        message_id,
    };
    let (mut matrix, mut unknown) = (String::new(), Vec::new());
    for rpc in rpcs() {
        matrix += &format!("{rpc}\n");
        for (name, client) in &callers {
            match call(&rpc, client, &belongings).await {
                Some(Ok(())) => matrix += &format!("  {name:<20} OK\n"),
                Some(Err(status)) => matrix += &format!("  {name:<20} {}\n", reason(&status)),
                None => unknown.push(rpc.clone()),
            }
        }
    }
    unknown.dedup();
    assert!(
        unknown.is_empty(),
        "say in `call` how these are called: {unknown:?}"
    );
    insta::assert_snapshot!(matrix);
}

/// Every reason that an RPC can fail with belongs to the published enum; this is the other direction of the contract.
#[test]
fn every_rpc_documents_its_errors_by_published_reasons() {
    let pool = DescriptorPool::decode(haven_proto::FILE_DESCRIPTOR_SET).unwrap();
    for service in pool.services() {
        let file = service.parent_file();
        let info = file.file_descriptor_proto().source_code_info.as_ref().unwrap();
        for rpc in service.methods() {
            let location = info
                .location
                .iter()
                .find(|location| location.path == rpc.path())
                .unwrap();
            let Some((_, errors)) = location.leading_comments().split_once("Errors:") else {
                continue;
            };
            let shouted =
                |word: &&str| word.len() > 3 && word.chars().all(|c| c.is_ascii_uppercase() || c == '_');
            for name in errors
                .split(|c: char| !c.is_ascii_alphanumeric() && c != '_')
                .filter(shouted)
            {
                let known: Option<Reason> = haven_platform::reason::from_name(name);
                assert!(
                    known.is_some(),
                    "{}: {name} is no published reason",
                    rpc.full_name()
                );
            }
        }
    }
}
