//! The rule files of `deploy/monitoring`, and the cases that promtool runs on them.

use std::{collections::BTreeMap, fs, path::PathBuf};

use haven_testkit::workspace;
use serde::{Deserialize, de::DeserializeOwned};

#[derive(Deserialize)]
struct RuleFile {
    groups: Vec<Group>,
}

#[derive(Deserialize)]
struct Group {
    rules: Vec<Rule>,
}

/// A rule that records a series, or an alert.
#[derive(Deserialize)]
pub(super) struct Rule {
    pub(super) alert: Option<String>,
    pub(super) expr: String,
    #[serde(default)]
    pub(super) labels: BTreeMap<String, String>,
    #[serde(default)]
    pub(super) annotations: BTreeMap<String, String>,
}

#[derive(Deserialize)]
struct CaseFile {
    tests: Vec<Test>,
}

#[derive(Deserialize)]
struct Test {
    alert_rule_test: Vec<Case>,
}

/// A moment at which an alert fires or does not.
#[derive(Deserialize)]
struct Case {
    alertname: String,
    #[serde(default)]
    exp_alerts: Vec<serde_json::Value>,
}

/// Returns the files of `deploy/monitoring/<folder>` with the extension `extension`.
pub(super) fn files(folder: &str, extension: &str) -> Vec<PathBuf> {
    let files = workspace::files(&workspace::root().join("deploy/monitoring").join(folder)).unwrap();
    let files: Vec<_> = files
        .into_iter()
        .filter(|file| file.extension().is_some_and(|found| found == extension))
        .collect();
    assert!(!files.is_empty(), "deploy/monitoring/{folder} is empty");
    files
}

fn parse<T: DeserializeOwned>(folder: &str) -> impl Iterator<Item = T> {
    files(folder, "yml").into_iter().map(|file| {
        let text = fs::read_to_string(&file).unwrap();
        serde_saphyr::from_str(&text).unwrap_or_else(|error| panic!("{}: {error}", file.display()))
    })
}

/// Returns all rules.
pub(super) fn rules() -> Vec<Rule> {
    let groups = parse::<RuleFile>("rules").flat_map(|file| file.groups);
    groups.flat_map(|group| group.rules).collect()
}

/// Returns the name and the rule of each alert.
pub(super) fn alerts() -> BTreeMap<String, Rule> {
    let alerts = rules()
        .into_iter()
        .filter_map(|rule| Some((rule.alert.clone()?, rule)));
    alerts.collect()
}

/// Each alert has a case in which it fires, and one in which it does not. CI runs them, with `deploy/monitoring/check`.
#[test]
fn each_alert_has_a_case_in_which_it_fires_and_one_in_which_it_does_not() {
    let cases: Vec<Case> = parse::<CaseFile>("tests")
        .flat_map(|file| file.tests)
        .flat_map(|test| test.alert_rule_test)
        .collect();
    let alerts = alerts();
    for case in &cases {
        assert!(
            alerts.contains_key(&case.alertname),
            "{} is no alert",
            case.alertname
        );
    }
    for alert in alerts.keys() {
        for fires in [true, false] {
            let found = cases
                .iter()
                .any(|case| case.alertname == *alert && case.exp_alerts.is_empty() != fires);
            assert!(found, "{alert} has no case in which it fires: {fires}");
        }
    }
}

#[test]
fn each_alert_has_a_severity_that_a_route_knows_a_summary_and_a_description() {
    for (name, rule) in alerts() {
        let severity = rule.labels.get("severity").map(String::as_str);
        assert!(
            matches!(severity, Some("page" | "ticket")),
            "{name}: {severity:?}"
        );
        for annotation in ["summary", "description", "runbook_url"] {
            let text = rule.annotations.get(annotation);
            assert!(
                text.is_some_and(|text| !text.trim().is_empty()),
                "{name}: {annotation}"
            );
        }
    }
}
