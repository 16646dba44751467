//! The tables of variables in `deploy/README.md`, against the programs' `--help`.

use std::{
    collections::{BTreeMap, BTreeSet},
    fs,
    process::Command,
};

use haven_testkit::{binaries::Binaries, workspace};

/// Each variable that `program` reads, with its default where `--help` shows one.
fn variables(program: &str) -> BTreeMap<String, Option<String>> {
    let binaries = Binaries::build().unwrap();
    let mut variables = BTreeMap::new();
    for command in ["serve", "migrate", "check-database"] {
        let output = Command::new(binaries.of(program))
            .args([command, "--help"])
            .env_clear()
            .output()
            .unwrap();
        assert!(output.status.success(), "{program} {command} --help");
        let help = String::from_utf8(output.stdout).unwrap();
        let mut last = None;
        // clap may break a line between the two brackets. A default in the text before them is not clap's.
        for part in help.split('[').skip(1) {
            let (inside, after) = part.split_once(']').unwrap_or((part, ""));
            let inside = inside.split_whitespace().collect::<Vec<_>>().join(" ");
            if let Some(name) = inside.strip_prefix("env: ") {
                let name = name.trim_end_matches('=').to_owned();
                variables.insert(name.clone(), None);
                last = Some(name).filter(|_| after.trim().is_empty());
            } else if let (Some(value), Some(name)) = (inside.strip_prefix("default: "), last.take()) {
                variables.insert(name, Some(value.to_owned()));
            }
        }
    }
    variables
}

/// The rows below the heading `heading` of `deploy/README.md`: variable and default.
fn documented(heading: &str) -> BTreeMap<String, String> {
    let document = fs::read_to_string(workspace::root().join("deploy/README.md")).unwrap();
    let section = document.split(&format!("\n### {heading}\n")).nth(1).unwrap();
    let section = section.split("\n#").next().unwrap();
    let rows = section.lines().filter_map(|line| line.strip_prefix("| `"));
    rows.map(|row| {
        let (name, rest) = row.split_once("` | ").unwrap();
        let (default, _) = rest.split_once(" | ").unwrap();
        (name.to_owned(), default.replace('`', ""))
    })
    .collect()
}

/// A variable that holds a secret can also be given as a file, under a name that the tables do not repeat.
fn is_file_of_secret(name: &str, all: &BTreeMap<String, Option<String>>) -> bool {
    name.strip_suffix("_FILE")
        .is_some_and(|name| all.contains_key(name))
}

#[test]
fn the_tables_have_every_variable_with_its_default_and_no_other() {
    let both = documented("Both services");
    for program in ["identity", "data"] {
        let read = variables(program);
        let mut told = both.clone();
        told.extend(documented(program));
        let names: BTreeSet<_> = read
            .keys()
            .filter(|name| !is_file_of_secret(name, &read))
            .collect();
        assert_eq!(told.keys().collect::<BTreeSet<_>>(), names, "{program}");
        for (name, default) in &read {
            let (Some(default), Some(told)) = (default, told.get(name)) else {
                continue;
            };
            assert!(
                told.split([',', ' ']).any(|word| word == default) || told == default,
                "{program}: {name} is {default} by default, and not {told}"
            );
        }
    }
}
