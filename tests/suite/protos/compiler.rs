//! `protoc` of this system's packages, which is version 3.21 on Debian 12, compiles the protos for each language that it has
//! built in.

use std::{
    collections::{BTreeMap, BTreeSet},
    fs,
    path::{Path, PathBuf},
    process::Command,
};

use haven_testkit::{package::Package, workspace};

use crate::packages::require;

/// The compiler, and the well-known types that the protos import.
const PACKAGES: [&str; 2] = ["protobuf-compiler", "libprotobuf-dev"];

/// The languages of `protoc` 3.21, and what each writes for the message `Record` of data.
const LANGUAGES: [(&str, &str, &str); 9] = [
    ("cpp", "haven/data/v1/cycle.pb.h", "class Record final"),
    ("csharp", "Cycle.cs", "namespace Haven.Data.V1 {"),
    (
        "java",
        "haven/data/v1/Record.java",
        "public final class Record extends",
    ),
    ("kotlin", "haven/data/v1/RecordKt.kt", "haven.data.v1.Record"),
    ("objc", "haven/data/v1/Cycle.pbobjc.h", "HDXRecord : GPBMessage"),
    ("php", "Haven/Data/V1/Record.php", "namespace Haven\\Data\\V1;"),
    ("pyi", "haven/data/v1/cycle_pb2.pyi", "class Record("),
    ("python", "haven/data/v1/cycle_pb2.py", "haven.data.v1"),
    ("ruby", "haven/data/v1/cycle_pb.rb", "Record = "),
];

/// Returns the paths of the files below `folder`.
fn files(folder: &Path) -> Vec<PathBuf> {
    let mut found = Vec::new();
    for entry in fs::read_dir(folder).unwrap() {
        let path = entry.unwrap().path();
        match path.is_dir() {
            true => found.extend(files(&path)),
            false => found.push(path),
        }
    }
    found
}

/// Compiles all protos for `language` into `out`.
fn compile(protoc: &Package, language: &str, out: &Path) {
    let protos = workspace::root().join("proto");
    let sources = files(&protos.join("haven"));
    assert!(sources.len() >= 15);
    let output = Command::new(protoc.path("usr/bin/protoc"))
        .env("LD_LIBRARY_PATH", protoc.libraries().unwrap())
        .arg("-I")
        .arg(&protos)
        .arg("-I")
        .arg(protoc.path("usr/include"))
        .arg(format!("--{language}_out={}", out.display()))
        .args(sources)
        .output()
        .unwrap();
    let errors = String::from_utf8_lossy(&output.stderr);
    // Warnings too, such as the one of an unused import.
    assert!(
        output.status.success() && errors.is_empty(),
        "{language}: {errors}"
    );
}

#[test]
fn the_compiler_of_the_distribution_reads_the_protos_for_each_language() {
    let Some(protoc) = require(&PACKAGES) else { return };
    for (language, file, content) in LANGUAGES {
        let out = tempfile::tempdir().unwrap();
        compile(&protoc, language, out.path());
        let generated = fs::read_to_string(out.path().join(file)).unwrap();
        assert!(generated.contains(content), "{language}: {file} lacks {content}");
    }
}

/// Objective-C has no namespaces: all classes, enums and values of a program share one.
#[test]
fn no_name_is_defined_twice_in_objective_c() {
    let Some(protoc) = require(&PACKAGES) else { return };
    let out = tempfile::tempdir().unwrap();
    compile(&protoc, "objc", out.path());
    let mut names: BTreeMap<String, BTreeSet<PathBuf>> = BTreeMap::new();
    for file in files(out.path()) {
        let generated = fs::read_to_string(&file).unwrap();
        for line in generated.lines() {
            // `@interface HDXRecord : GPBMessage`, after a macro in newer versions, and `typedef GPB_ENUM(HDXChangeKind) {`.
            let class = line
                .split_once("@interface ")
                .and_then(|(_, rest)| rest.split_once(" : "))
                .map(|(name, _)| name);
            let enumeration = line
                .strip_prefix("typedef GPB_ENUM(")
                .and_then(|rest| rest.split_once(')'))
                .map(|(name, _)| name);
            for name in class.into_iter().chain(enumeration) {
                names.entry(name.to_owned()).or_default().insert(file.clone());
            }
        }
    }
    assert!(names.len() > 200, "{} names", names.len());
    names.retain(|_, files| files.len() > 1);
    // A class without messages, which each file has, has the name of the file.
    assert!(names.is_empty(), "{names:#?}");
}
