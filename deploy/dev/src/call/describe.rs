//! `--describe`: explains an RPC, a gRPC service, a message or an enum.

use std::fmt::Write;

use anyhow::Result;
use haven_proto::access::v1::Access;
use prost_reflect::{EnumDescriptor, FieldDescriptor, Kind, MessageDescriptor};

use super::{
    contracts::{Contracts, Rpc, comment},
    example, list,
    names::{self, is_suffix, plain},
};

/// The longest JSON that an example shows on one line.
const LINE: usize = 60;

/// Prints the explanation of `name`.
pub(super) fn print(contracts: &Contracts, name: &str) -> Result<()> {
    let wanted = plain(name);
    let pool = contracts.pool();
    // No RPC has the name of a service, a message or an enum.
    if let Some(service) = pool
        .services()
        .find(|service| is_suffix(&plain(service.full_name()), &wanted))
    {
        println!(
            "{}\n",
            indented(&comment(&service.parent_file(), service.path()), "")
        );
        return list::print(contracts, Some(service.full_name()));
    }
    if let Some(message) = pool
        .all_messages()
        .find(|message| is_suffix(&plain(message.full_name()), &wanted))
    {
        print!("{}", message_text(&message)?);
        return Ok(());
    }
    if let Some(found) = pool
        .all_enums()
        .find(|found| is_suffix(&plain(found.full_name()), &wanted))
    {
        print!("{}", enum_text(&found));
        return Ok(());
    }
    print!("{}", rpc_text(&names::rpc(contracts, name)?)?);
    Ok(())
}

fn rpc_text(rpc: &Rpc) -> Result<String> {
    let (input, output) = (rpc.method.input(), rpc.method.output());
    let stream = |is_stream| if is_stream { ", as a stream" } else { "" };
    let mut text = format!("{}\n\n", rpc.full_name());
    match rpc.comment().as_str() {
        "" => {}
        comment => writeln!(text, "{}\n", indented(comment, ""))?,
    }
    writeln!(text, "Access    {}", rpc.access_words())?;
    if let Some(scope) = rpc.scope_name() {
        writeln!(text, "Scope     {scope}, if a service calls without a user")?;
    }
    writeln!(
        text,
        "Server    {}",
        rpc.server.unwrap_or("both services; choose one with --server")
    )?;
    writeln!(
        text,
        "Request   {}{}",
        input.full_name(),
        stream(rpc.method.is_client_streaming())
    )?;
    writeln!(
        text,
        "Response  {}{}",
        output.full_name(),
        stream(rpc.method.is_server_streaming())
    )?;
    for message in [&input, &output] {
        writeln!(text, "\n{}", message.name())?;
        text += &fields_text(message, 1, &mut vec![message.full_name().to_owned()]);
    }
    writeln!(text, "\nExample\n{}", indented(&example_call(rpc)?, "  "))?;
    Ok(text)
}

fn message_text(message: &MessageDescriptor) -> Result<String> {
    let comment = comment(&message.parent_file(), message.path());
    let mut text = format!("message {}\n\n", message.full_name());
    if !comment.is_empty() {
        text += &format!("{comment}\n\n");
    }
    text += &fields_text(message, 1, &mut vec![message.full_name().to_owned()]);
    let example = example::text(message, true)?;
    Ok(text + &format!("\nExample\n{}\n", indented(&example, "  ")))
}

fn enum_text(found: &EnumDescriptor) -> String {
    let comment = comment(&found.parent_file(), found.path());
    let mut text = format!("enum {}\n\n", found.full_name());
    if !comment.is_empty() {
        text += &format!("{comment}\n\n");
    }
    text + &values_text(found, 1)
}

/// Describes the fields of a message, and below each field the message or the enum that it holds. `seen` are the messages
/// around it, and those that were described before.
fn fields_text(message: &MessageDescriptor, depth: usize, seen: &mut Vec<String>) -> String {
    let (indent, deeper) = ("  ".repeat(depth), "  ".repeat(depth + 1));
    let mut text = String::new();
    if message.fields().len() == 0 {
        return format!("{indent}(no fields)\n");
    }
    for field in message.fields() {
        text += &format!("{indent}{}  {}\n", field.name(), type_name(&field));
        let comment = comment(&message.parent_file(), field.path());
        if !comment.is_empty() {
            text += &format!("{}\n", indented(&comment, &deeper));
        }
        match field.kind() {
            Kind::Message(inner) => {
                let name = inner.full_name().to_owned();
                let has_fields = inner.package_name() != "google.protobuf" && !inner.is_map_entry();
                if has_fields && !seen.contains(&name) {
                    seen.push(name);
                    text += &fields_text(&inner, depth + 1, seen);
                }
            }
            Kind::Enum(inner) if !seen.contains(&inner.full_name().to_owned()) => {
                seen.push(inner.full_name().to_owned());
                text += &values_text(&inner, depth + 1);
            }
            _ => {}
        }
    }
    text
}

fn values_text(found: &EnumDescriptor, depth: usize) -> String {
    let indent = "  ".repeat(depth);
    let mut text = String::new();
    for value in found.values() {
        let comment = comment(&found.parent_file(), value.path());
        let comment = comment.split_whitespace().collect::<Vec<_>>().join(" ");
        text += format!("{indent}{}  {comment}", value.name()).trim_end();
        text.push('\n');
    }
    text
}

/// Returns the type of a field, with its form in JSON where that is not obvious.
fn type_name(field: &FieldDescriptor) -> String {
    let name = match field.kind() {
        Kind::Message(message) => match message.full_name() {
            "google.protobuf.Timestamp" => "time, \"2026-11-22T07:30:00Z\"".to_owned(),
            "google.protobuf.Duration" => "duration, \"90s\"".to_owned(),
            "google.protobuf.FieldMask" => "field mask, \"one_field,another\"".to_owned(),
            _ => message.name().to_owned(),
        },
        Kind::Enum(found) => found.name().to_owned(),
        Kind::Bytes => "bytes in base64".to_owned(),
        kind => format!("{kind:?}").to_lowercase(),
    };
    match field.is_list() {
        true => format!("list of {name}"),
        false => name,
    }
}

/// Returns a command line that can be pasted.
fn example_call(rpc: &Rpc) -> Result<String> {
    let caller = match rpc.access {
        Access::User | Access::UserOrService => " --as ada@example.org".to_owned(),
        Access::Service => format!(" --service {}", rpc.service()),
        Access::Anyone | Access::Unspecified => String::new(),
    };
    let server = if rpc.server.is_none() {
        " --server data"
    } else {
        ""
    };
    let input = rpc.method.input();
    let line = example::text(&input, false)?;
    let json = if line.len() > LINE {
        example::text(&input, true)?
    } else {
        line
    };
    let request = if json == "{}" {
        String::new()
    } else {
        format!(" '{json}'")
    };
    Ok(format!("cargo dev call {}{caller}{server}{request}", rpc.name()))
}

/// Puts `indent` before each line that is not empty.
fn indented(text: &str, indent: &str) -> String {
    let lines = text.lines().map(|line| match line {
        "" => String::new(),
        _ => format!("{indent}{line}"),
    });
    lines.collect::<Vec<_>>().join("\n")
}
