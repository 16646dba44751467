//! An example of a message, as JSON that the message's type accepts.

use std::time::{Duration, SystemTime};

use anyhow::Result;
use base64::prelude::{BASE64_STANDARD, Engine};
use haven_testkit::random;
use prost_reflect::{
    DynamicMessage, FieldDescriptor, Kind, MessageDescriptor, SerializeOptions, prost_types::Timestamp,
};
use serde_json::{Map, json};

use super::contracts::comment;

/// How deep messages are put into each other.
const DEPTH: usize = 4;

/// Returns an example of `kind` as JSON text, with the fields in the order of the proto. `pretty` puts each on a line.
pub(super) fn text(kind: &MessageDescriptor, pretty: bool) -> Result<String> {
    let message = DynamicMessage::deserialize(kind.clone(), message(kind))?;
    let options = SerializeOptions::new().use_proto_field_name(true);
    let mut json = Vec::new();
    if pretty {
        let mut serializer = serde_json::Serializer::pretty(&mut json);
        message.serialize_with_options(&mut serializer, &options)?;
    } else {
        let mut serializer = serde_json::Serializer::new(&mut json);
        message.serialize_with_options(&mut serializer, &options)?;
    }
    Ok(String::from_utf8(json)?)
}

/// Returns an example of `kind` that has all its fields but those that are optional and those that only answers have. The
/// field `request_id` is left to be filled.
fn message(kind: &MessageDescriptor) -> serde_json::Value {
    nested(kind, DEPTH)
}

fn nested(kind: &MessageDescriptor, depth: usize) -> serde_json::Value {
    match kind.full_name() {
        "google.protobuf.Timestamp" => return time(Duration::ZERO),
        "google.protobuf.Duration" => return json!("30s"),
        "google.protobuf.FieldMask" => return json!("goals"),
        _ if depth == 0 => return json!({}),
        _ => {}
    }
    // Of a choice between fields, the first.
    let is_chosen = |field: &FieldDescriptor| {
        let first = field.containing_oneof().and_then(|oneof| oneof.fields().next());
        first.is_none_or(|first| first.number() == field.number())
    };
    let fields = kind.fields().filter(|field| is_chosen(field) && is_needed(field));
    fields
        .map(|field| (field.name().to_owned(), value(&field, depth)))
        .collect::<Map<_, _>>()
        .into()
}

fn is_needed(field: &FieldDescriptor) -> bool {
    let comment = comment(&field.parent_message().parent_file(), field.path());
    let is_optional = ["Optional.", "Output only."]
        .iter()
        .any(|mark| comment.starts_with(mark));
    !is_optional && field.name() != "request_id"
}

fn value(field: &FieldDescriptor, depth: usize) -> serde_json::Value {
    if field.full_name() == "haven.identity.v1.SignUpRequest.consents" {
        let consent = |document| json!({"document": document, "document_version": "2026-01"});
        return json!([consent("terms"), consent("privacy")]);
    }
    if field.is_map() {
        return json!({});
    }
    let one = match field.kind() {
        Kind::Message(_) if field.name() == "expire_time" => time(Duration::from_secs(7 * 24 * 60 * 60)),
        Kind::Message(kind) => nested(&kind, depth - 1),
        Kind::Enum(kind) => {
            let value = kind.values().nth(1).or_else(|| kind.values().next());
            json!(value.map(|value| value.name().to_owned()))
        }
        Kind::String => json!(word(field.name())),
        Kind::Bytes => bytes(field.name()),
        Kind::Bool => json!(true),
        Kind::Double | Kind::Float => json!(1.5),
        _ => json!(number(field.name())),
    };
    if field.is_list() { json!([one]) } else { one }
}

fn word(name: &str) -> String {
    let text = match name {
        "email" => "ada@example.org",
        "password" | "current_password" => "Kite-over-7-harbours",
        "new_password" => "Lantern-8-on-the-pier",
        "text" => "I said hello first today.",
        "document" => "news",
        "document_version" => "1",
        "key_derivation_path" => "m/44/0/1",
        "app_version" => "1.0.0",
        "error_code" => "MODEL_TIMEOUT",
        "service" => "haven.data.v1.ConversationService",
        _ if name == "id" || name.ends_with("_id") || name.ends_with("_ids") || name == "lease_token" => {
            return random::uuid().to_string();
        }
        _ => return name.replace('_', " "),
    };
    text.to_owned()
}

fn number(name: &str) -> u32 {
    match name {
        "memory_kib" => 19_456,
        "iterations" => 2,
        _ => 1,
    }
}

/// Returns random bytes, as many as the field has.
fn bytes(name: &str) -> serde_json::Value {
    let length = match name {
        "nonce" => 24,
        "salt" => 16,
        "encrypted_master_key" => 72,
        _ => 96,
    };
    let random: Vec<u8> = (0..length).map(|_| rand::random()).collect();
    json!(BASE64_STANDARD.encode(random))
}

/// Returns the present time, plus `later`.
fn time(later: Duration) -> serde_json::Value {
    let now = SystemTime::now()
        .duration_since(SystemTime::UNIX_EPOCH)
        .unwrap_or_default();
    let seconds = i64::try_from((now + later).as_secs()).unwrap_or_default();
    json!(Timestamp { seconds, nanos: 0 }.to_string())
}
