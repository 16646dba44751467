//! `deploy/runbook.md` has a section for each alert, and no other.

use std::{collections::BTreeSet, fs};

use haven_testkit::workspace;

use super::rules::alerts;

/// What a person who was woken looks for, in each section.
const PARTS: [&str; 4] = ["**Meaning.**", "**See more.**", "**Do.**", "**Wake a person**"];

/// Returns the headings and texts of the sections below "Alerts".
fn sections() -> Vec<(String, String)> {
    let text = fs::read_to_string(workspace::root().join("deploy/runbook.md")).unwrap();
    let (_, after) = text.split_once("\n## Alerts\n").expect("a section Alerts");
    let (alerts, _) = after.split_once("\n## ").expect("a section after Alerts");
    let sections = alerts.split("\n### ").skip(1);
    sections
        .map(|section| {
            let (heading, text) = section.split_once('\n').unwrap();
            (heading.trim().to_owned(), text.to_owned())
        })
        .collect()
}

#[test]
fn each_alert_has_its_section_and_each_section_its_alert() {
    let alerts: BTreeSet<_> = alerts().into_keys().collect();
    let sections: BTreeSet<_> = sections().into_iter().map(|(heading, _)| heading).collect();
    assert_eq!(alerts, sections);
}

#[test]
fn each_alert_links_to_its_section() {
    for (name, rule) in alerts() {
        let expected = format!("deploy/runbook.md#{}", name.to_lowercase());
        assert_eq!(rule.annotations.get("runbook_url"), Some(&expected), "{name}");
    }
}

#[test]
fn each_section_says_what_the_alert_means_how_to_see_more_what_to_do_and_when_to_wake_a_person() {
    for (heading, text) in sections() {
        for part in PARTS {
            assert!(text.contains(part), "{heading} has no {part}");
        }
    }
}
