//! A person with a value in each exported column, and both exports of the person.

use haven_proto::{
    data::v1::ExportDataResponse,
    identity::v1::{ExportAccountResponse, SignInRequest},
};
use haven_testkit::{Person, Stack, random};
use prost::Message;
use prost_reflect::{DescriptorPool, DynamicMessage, SerializeOptions};
use serde_json::{Value, value::Serializer};

use crate::{account::export_account, person::export_data, superuser_sql::execute, test_device::Device};

/// The exports of one person, as JSON with the names of the contract.
pub(super) struct Exports {
    pub(super) person: Person,
    pub(super) identity: Value,
    pub(super) data: Value,
}

/// The texts that the person has stored sealed, or parts of them.
pub(super) const SEALED_TEXTS: [&str; 4] = [
    "hello",
    crate::crisis_message::ALARMING,
    "analyse this",
    "they are brave",
];

impl Exports {
    /// Creates a person who has used everything, and exports what is stored.
    pub(super) async fn of_everything(stack: &Stack) -> Self {
        let device = Device::invent(stack).await.unwrap();
        export_data::complete_export::create_everything(stack, &device).await;
        let person = device.person.clone();
        // A second session.
        let request = SignInRequest {
            email: person.email.clone(),
            password: person.password.clone(),
            request_id: random::uuid().to_string(),
            ..SignInRequest::default()
        };
        let anonymous = stack.anonymous().unwrap();
        anonymous.session().sign_in(request).await.unwrap();
        let values = include_str!("values.sql").replace("{person}", &person.id.to_string());
        execute(&stack.database, &values).await;
        let account = export_account::export(&device.client).await.unwrap();
        let data = export_data::export(&device.client).await.unwrap();
        Self {
            person,
            identity: json::<ExportAccountResponse>("haven.identity.v1.ExportAccountResponse", &account),
            data: json::<ExportDataResponse>("haven.data.v1.ExportDataResponse", &data),
        }
    }

    /// Returns the export of `schema`.
    pub(super) fn of(&self, schema: &str) -> &Value {
        match schema {
            "identity" => &self.identity,
            _ => &self.data,
        }
    }
}

/// Returns `message`, which has the type `name`, as JSON with its fields by the names of the contract.
fn json<M: Message>(name: &str, message: &M) -> Value {
    let pool = DescriptorPool::decode(haven_proto::FILE_DESCRIPTOR_SET).unwrap();
    let descriptor = pool.get_message_by_name(name).unwrap();
    let message = DynamicMessage::decode(descriptor, message.encode_to_vec().as_slice()).unwrap();
    let options = SerializeOptions::new()
        .skip_default_fields(false)
        .use_proto_field_name(true);
    message.serialize_with_options(Serializer, &options).unwrap()
}
