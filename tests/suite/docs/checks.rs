//! The table of security checks in `deploy/README.md`, against the programs.

use std::{collections::BTreeMap, fs};

use haven_platform::database::checks;
use haven_testkit::workspace;

/// The checks that are not queries.
const OTHERS: [&str; 3] = ["audit-chains", checks::backup::NAME, "minor-version"];

#[test]
fn the_table_has_every_check_with_its_rule_and_no_other() {
    let document = fs::read_to_string(workspace::root().join("deploy/README.md")).unwrap();
    let (_, table) = document.split_once("\n| check | rule |\n").unwrap();
    let rows = table.lines().skip(1).map_while(|line| line.strip_prefix("| `"));
    let mut told: BTreeMap<&str, &str> = rows
        .map(|row| row.trim_end_matches(" |").split_once("` | ").unwrap())
        .collect();
    for other in OTHERS {
        assert!(told.remove(other).is_some(), "{other} is missing");
    }
    let checks: BTreeMap<&str, &str> = checks::all().map(|check| (check.name, check.title)).collect();
    assert_eq!(told, checks);
}
