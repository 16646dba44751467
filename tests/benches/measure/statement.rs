//! The service's statements, as it was built with them: they are read from where sqlx keeps them for the compiler.

use std::fs;

use anyhow::{Context, Result, ensure};
use haven_testkit::workspace;
use serde_json::Value;

/// The login of the service's requests.
pub(crate) const LOGIN: &str = "data_app";

/// How the service begins, in one round trip; the time that is left differs with each call, and costs the same. Where
/// `:person_id` stands, goes whose transaction it is.
pub(crate) const BEGIN: [&str; 3] = [
    "BEGIN",
    "SELECT set_config('request.jwt.claims', '{\"sub\":\":person_id\"}', true), \
     set_config('statement_timeout', '9999', true)",
    "SET LOCAL ROLE data_user",
];

/// The data service's statement that begins with this name in a comment, and takes so many parameters.
pub(crate) fn statement(name: &str, arguments: usize) -> Result<String> {
    let kept = workspace::root().join("services/data/.sqlx");
    let comment = format!("/* {name} */");
    let mut found = Vec::new();
    for path in workspace::files(&kept)? {
        let description: Value = serde_json::from_slice(&fs::read(&path)?)?;
        let query = description["query"].as_str().context("a query has a text")?;
        if query.starts_with(&comment) {
            let parameters = description["describe"]["parameters"]["Left"].as_array();
            found.push((query.to_owned(), parameters.map_or(0, Vec::len)));
        }
    }
    ensure!(
        found.len() == 1,
        "{} statements in {} begin with {comment}",
        found.len(),
        kept.display()
    );
    let (query, parameters) = found.remove(0);
    ensure!(
        parameters == arguments,
        "the statement {name} takes {parameters} parameters, and this benchmark gives it {arguments}"
    );
    Ok(query)
}
