//! Every RPC of the descriptors with canaries in it: as it has to be, and with each of its fields as it must not be.

use haven_proto::{
    data::v1::{GetMessageRequest, ListMessagesRequest, ProvisionUserRequest},
    identity::v1::{GetSigningKeysRequest, SignInRequest},
};
use haven_testkit::{client::sign_up_request, random};
use prost::Message;
use prost_reflect::{DescriptorPool, DynamicMessage, Kind, MessageDescriptor, ReflectMessage, Value};

use super::{
    canary::Allowed,
    world::{ACCOUNTS, Who, World, message},
};

/// A call that goes well.
pub(super) struct Case {
    /// `identity` or `data`.
    pub(super) service: &'static str,
    pub(super) path: String,
    pub(super) who: Who,
    pub(super) body: Vec<u8>,
    input: MessageDescriptor,
}

/// How `rpc` is called well, with a canary in every field that can hold one. None: nobody has said yet.
fn good(rpc: &str, world: &World) -> Option<(Who, Vec<u8>)> {
    let request_id = random::uuid().to_string();
    Some(match rpc {
        "haven.identity.v1.AccountService/SignUp" => {
            let email = world
                .flock
                .allowed("SignUp's email", Allowed::Surely(&[ACCOUNTS]));
            let password = world.flock.canary("SignUp's password");
            let request = sign_up_request(&email.email(), &password.password());
            (Who::Nobody, request.encode_to_vec())
        }
        "haven.identity.v1.SessionService/SignIn" => {
            let request = SignInRequest {
                email: world.person.email.clone(),
                password: world.person.password.clone(),
                request_id,
            };
            (Who::Nobody, request.encode_to_vec())
        }
        "haven.identity.v1.SessionService/GetSigningKeys" => {
            (Who::Nobody, GetSigningKeysRequest {}.encode_to_vec())
        }
        "haven.data.v1.ConversationService/AppendMessage" => {
            let text = world.flock.canary("AppendMessage's text");
            (Who::Person, message(&text).encode_to_vec())
        }
        "haven.data.v1.ConversationService/GetMessage" => {
            let message_id = world.message_id.clone();
            (Who::Person, GetMessageRequest { message_id }.encode_to_vec())
        }
        "haven.data.v1.ConversationService/ListMessages" => {
            (Who::Person, ListMessagesRequest::default().encode_to_vec())
        }
        "haven.data.v1.PersonService/ProvisionUser" => {
            let request = ProvisionUserRequest {
                user_id: random::uuid().to_string(),
                request_id,
            };
            (Who::Service, request.encode_to_vec())
        }
        _ => return None,
    })
}

/// Every RPC, by its name. Panics when nobody has said how one is called.
pub(super) fn cases(world: &World) -> Vec<Case> {
    let pool = DescriptorPool::decode(haven_proto::FILE_DESCRIPTOR_SET).unwrap();
    let (mut cases, mut unknown) = (Vec::new(), Vec::new());
    for rpc in crate::permissions::rpcs() {
        let Some((who, body)) = good(&rpc, world) else {
            unknown.push(rpc);
            continue;
        };
        let (service, method) = rpc.split_once('/').unwrap();
        let descriptor = pool.get_service_by_name(service).unwrap();
        let input = descriptor
            .methods()
            .find(|found| found.name() == method)
            .unwrap()
            .input();
        cases.push(Case {
            service: if service.starts_with("haven.data.") {
                "data"
            } else {
                "identity"
            },
            path: format!("/{rpc}"),
            who,
            body,
            input,
        });
    }
    assert!(
        unknown.is_empty(),
        "say in `good` how these are called, with a canary in each field: {unknown:?}"
    );
    cases
}

impl Case {
    /// The good request once for each text in it, however deep, with what `replace` makes of the field's name instead.
    pub(super) fn with_each_text(&self, replace: impl Fn(&str) -> String) -> Vec<Vec<u8>> {
        let message = DynamicMessage::decode(self.input.clone(), self.body.as_slice()).unwrap();
        let changed = each_text(&message, &replace);
        changed.iter().map(Message::encode_to_vec).collect()
    }
}

fn each_text(message: &DynamicMessage, replace: &dyn Fn(&str) -> String) -> Vec<DynamicMessage> {
    let mut changed = Vec::new();
    for field in message.descriptor().fields() {
        let mut with = |value| {
            let mut copy = message.clone();
            copy.set_field(&field, value);
            changed.push(copy);
        };
        match (field.kind(), message.get_field(&field).as_ref()) {
            (Kind::String, Value::String(_)) => with(Value::String(replace(field.name()))),
            (Kind::Bytes, Value::Bytes(_)) => with(Value::Bytes(replace(field.name()).into())),
            (Kind::Message(_), Value::Message(inner)) if message.has_field(&field) => {
                for inner in each_text(inner, replace) {
                    with(Value::Message(inner));
                }
            }
            (kind, Value::List(items)) => {
                for position in 0..items.len() {
                    let replaced: Vec<Value> = match (&kind, &items[position]) {
                        (Kind::String, _) => vec![Value::String(replace(field.name()))],
                        (Kind::Bytes, _) => vec![Value::Bytes(replace(field.name()).into())],
                        (_, Value::Message(inner)) => each_text(inner, replace)
                            .into_iter()
                            .map(Value::Message)
                            .collect(),
                        _ => Vec::new(),
                    };
                    for value in replaced {
                        let mut copy = items.clone();
                        copy[position] = value;
                        with(Value::List(copy));
                    }
                }
            }
            _ => {}
        }
    }
    changed
}
