//! The dashboards of Grafana: their expressions, and what their files must agree on.

use std::{collections::BTreeSet, fs};

use serde_json::Value;

use super::rules::files;

fn dashboards() -> Vec<(String, Value)> {
    let files = files("dashboards", "json").into_iter();
    files
        .map(|file| {
            let name = file.file_stem().unwrap().to_string_lossy().into_owned();
            (
                name,
                serde_json::from_str(&fs::read_to_string(&file).unwrap()).unwrap(),
            )
        })
        .collect()
}

fn list(value: &Value) -> &[Value] {
    value.as_array().map_or(&[], Vec::as_slice)
}

/// Returns the expressions of all panels and variables. A variable of Grafana that stands for a time is replaced by one.
pub(super) fn expressions() -> Vec<String> {
    let mut expressions = Vec::new();
    for (name, dashboard) in dashboards() {
        let before = expressions.len();
        for panel in list(&dashboard["panels"]) {
            for target in list(&panel["targets"]) {
                expressions.push(target["expr"].as_str().expect("an expression").to_owned());
            }
        }
        assert!(expressions.len() > before, "{name} shows nothing");
        for variable in list(&dashboard["templating"]["list"]) {
            // `label_values(metric, label)` is Grafana's own.
            if let Some(query) = variable["query"]["query"].as_str() {
                let inner = query
                    .strip_prefix("label_values(")
                    .and_then(|rest| rest.strip_suffix(')'));
                let (metric, label) = inner
                    .and_then(|inner| inner.split_once(", "))
                    .expect("label_values");
                expressions.push(format!("count by ({label}) ({metric})"));
            }
        }
    }
    expressions
        .into_iter()
        .map(|one| one.replace("$__rate_interval", "5m").replace("$__range", "1h"))
        .collect()
}

#[test]
fn each_dashboard_has_a_name_of_its_own_and_panels_with_titles_and_sources() {
    let (mut uids, mut titles) = (BTreeSet::new(), BTreeSet::new());
    for (name, dashboard) in dashboards() {
        assert_eq!(dashboard["uid"], format!("haven-{name}"));
        uids.insert(dashboard["uid"].to_string());
        assert!(titles.insert(dashboard["title"].to_string()), "{name}");
        for panel in list(&dashboard["panels"]) {
            assert!(
                panel["title"].as_str().is_some_and(|title| !title.is_empty()),
                "{name}: {panel}"
            );
            let is_row = panel["type"] == "row";
            let source = &panel["datasource"]["uid"];
            assert!(is_row || source == "prometheus", "{name}: {panel}");
        }
    }
    assert_eq!(uids.len(), 4, "overview, service, postgres, queue");
}
