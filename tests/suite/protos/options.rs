//! The options by which the generators of other languages name what they generate.

use std::path::Path;

use prost_reflect::{DescriptorPool, FileDescriptor, ReflectMessage, Value};

/// Returns a part of a name with its first letter in upper case.
fn capitalized(part: &str) -> String {
    let (first, rest) = part.split_at(1);
    first.to_uppercase() + rest
}

/// Returns the options that a file of `package` must have, with their values, as buf's managed mode derives them. The package
/// of Java, and the prefix of Swift are what the generators use by default.
fn derived(package: &str, file: &str) -> [(&'static str, Value); 9] {
    let parts: Vec<&str> = package.split('.').collect();
    let capitalized_parts: Vec<String> = parts.iter().map(|part| capitalized(part)).collect();
    let mut prefix: String = parts[..parts.len() - 1].iter().map(|part| &part[..1]).collect();
    prefix = format!("{:X<3}", prefix.to_uppercase());
    let stem = Path::new(file).file_stem().unwrap().to_str().unwrap();
    let outer_class: String = stem.split('_').map(capitalized).collect();
    let string = |value: String| Value::String(value);
    [
        ("csharp_namespace", string(capitalized_parts.join("."))),
        (
            "go_package",
            string(format!("{};{}", parts.join("/"), parts[1..].concat())),
        ),
        ("java_multiple_files", Value::Bool(true)),
        ("java_outer_classname", string(outer_class + "Proto")),
        ("java_package", string(package.to_owned())),
        ("objc_class_prefix", string(prefix)),
        ("php_namespace", string(capitalized_parts.join("\\"))),
        ("ruby_package", string(capitalized_parts.join("::"))),
        ("swift_prefix", string(capitalized_parts.join("_") + "_")),
    ]
}

/// Returns the options of `file` that differ from the derived ones.
fn wrong(file: &FileDescriptor) -> Vec<String> {
    let options = file.options();
    derived(file.package_name(), file.name())
        .into_iter()
        .filter(|(name, value)| {
            let field = options.descriptor().get_field_by_name(name).unwrap();
            !options.has_field(&field) || *options.get_field(&field) != *value
        })
        .map(|(name, value)| format!("{}: {name} must be {value}", file.name()))
        .collect()
}

#[test]
fn each_file_has_the_options_of_all_languages() {
    let pool = DescriptorPool::decode(haven_proto::FILE_DESCRIPTOR_SET).unwrap();
    let own: Vec<_> = pool
        .files()
        .filter(|file| file.package_name().starts_with("haven."))
        .collect();
    assert!(own.len() >= 15);
    let wrong: Vec<_> = own.iter().flat_map(wrong).collect();
    assert!(wrong.is_empty(), "{wrong:#?}");
}
