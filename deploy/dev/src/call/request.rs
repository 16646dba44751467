//! Turns JSON into the request messages of an RPC.

use anyhow::Result;
use haven_testkit::random;
use prost_reflect::{DynamicMessage, FieldDescriptor, Kind, MessageDescriptor};
use serde_json::{Deserializer, Map, Value};

use super::{contracts::Rpc, failure::Usage, names};

/// The field that is filled with a fresh UUID if the JSON lacks it.
const REQUEST_ID: &str = "request_id";

/// Returns the messages that `json` describes: exactly one, or, for an RPC that takes a stream, one for each JSON value.
/// Nothing but white space is an empty message.
pub(crate) fn messages(rpc: &Rpc, json: &str) -> Result<Vec<DynamicMessage>> {
    let mut values: Vec<Value> = Deserializer::from_str(json)
        .into_iter()
        .collect::<Result<_, _>>()
        .map_err(|error| Usage::error(format!("this is not JSON: {error}")))?;
    if values.is_empty() {
        values.push(Value::Object(Map::new()));
    }
    if values.len() > 1 && !rpc.method.is_client_streaming() {
        return Err(Usage::error(format!(
            "{} takes one request, but these are {} JSON values",
            rpc.name(),
            values.len()
        )));
    }
    let kind = rpc.method.input();
    values.into_iter().map(|value| message(&kind, value)).collect()
}

/// Returns the message of type `kind` that `value` describes.
fn message(kind: &MessageDescriptor, mut value: Value) -> Result<DynamicMessage> {
    let Value::Object(fields) = &mut value else {
        return Err(Usage::error(format!(
            "a {} is a JSON object, {{\"field\": value, …}}",
            kind.name()
        )));
    };
    fill_request_ids(kind, fields);
    check_names(kind, fields, "")?;
    parse(kind, &value)
}

/// Adds a fresh request id where a message of type `kind` has none, and where the requests that it consists of have none.
fn fill_request_ids(kind: &MessageDescriptor, fields: &mut Map<String, Value>) {
    for field in kind.fields() {
        match field.kind() {
            _ if field.name() == REQUEST_ID
                && !fields.contains_key(REQUEST_ID)
                && !fields.contains_key(field.json_name()) =>
            {
                fields.insert(REQUEST_ID.to_owned(), random::uuid().to_string().into());
            }
            Kind::Message(part) if field.is_list() => {
                for name in [field.name(), field.json_name()] {
                    let Some(Value::Array(parts)) = fields.get_mut(name) else {
                        continue;
                    };
                    for fields in parts.iter_mut().filter_map(Value::as_object_mut) {
                        fill_request_ids(&part, fields);
                    }
                }
            }
            _ => {}
        }
    }
}

/// Parses a value, all field names of which are known. The error names the field that the value does not fit.
fn parse(kind: &MessageDescriptor, value: &Value) -> Result<DynamicMessage> {
    let mut track = serde_path_to_error::Track::new();
    let deserializer = serde_path_to_error::Deserializer::new(value, &mut track);
    DynamicMessage::deserialize(kind.clone(), deserializer).map_err(|error| {
        let path = track.path().to_string();
        Usage::error(format!("{path}: {error}"))
    })
}

/// Checks that the names of all fields and enum values exist. `path` is that of the object `fields`.
fn check_names(kind: &MessageDescriptor, fields: &Map<String, Value>, path: &str) -> Result<()> {
    for (name, value) in fields {
        let path = match path {
            "" => name.clone(),
            _ => format!("{path}.{name}"),
        };
        let field = kind
            .get_field_by_name(name)
            .or_else(|| kind.get_field_by_json_name(name))
            .ok_or_else(|| unknown_field(kind, name, &path))?;
        check_value(&field, value, &path)?;
    }
    Ok(())
}

fn check_value(field: &FieldDescriptor, value: &Value, path: &str) -> Result<()> {
    // A map has keys of any name.
    if field.is_map() {
        return Ok(());
    }
    match (value, field.kind()) {
        (Value::Array(items), _) if field.is_list() => {
            let mut items = items.iter().enumerate();
            items.try_for_each(|(index, item)| check_item(field, item, &format!("{path}[{index}]")))
        }
        _ => check_item(field, value, path),
    }
}

fn check_item(field: &FieldDescriptor, value: &Value, path: &str) -> Result<()> {
    match (value, field.kind()) {
        // The messages of `google.protobuf` have JSON forms of their own.
        (Value::Object(fields), Kind::Message(kind)) if kind.package_name() != "google.protobuf" => {
            check_names(&kind, fields, path)
        }
        (Value::String(name), Kind::Enum(kind)) if kind.get_value_by_name(name).is_none() => {
            let values: Vec<_> = kind.values().map(|value| value.name().to_owned()).collect();
            Err(Usage::error(format!(
                "{path}: {name} is not a value of {}, which has {}",
                kind.name(),
                values.join(", ")
            )))
        }
        _ => Ok(()),
    }
}

fn unknown_field(kind: &MessageDescriptor, name: &str, path: &str) -> anyhow::Error {
    let fields: Vec<_> = kind.fields().map(|field| field.name().to_owned()).collect();
    if fields.is_empty() {
        return Usage::error(format!("{path}: {} has no fields", kind.name()));
    }
    let near = names::near(name, fields.iter().cloned());
    let hint = near.first().map(|near| format!(" Did you mean {near}?"));
    Usage::error(format!(
        "{path}: {} has no such field, only {}.{}",
        kind.name(),
        fields.join(", "),
        hint.unwrap_or_default()
    ))
}
