//! Reads the service's SQL statements from the offline data of sqlx (`.sqlx`).

use std::fs;

use anyhow::{Context, Result, ensure};
use haven_testkit::workspace;
use serde_json::Value;

/// The login of the service's requests.
pub(crate) const LOGIN: &str = "data_app";

/// The statements with which the service begins a transaction, in one round trip. The service sets another statement timeout
/// for each call, at the same cost.
pub(crate) const BEGIN: [&str; 3] = [
    "BEGIN",
    "SELECT set_config('statement_timeout', '9999', true)",
    "SET LOCAL ROLE data_user",
];

/// The statement with which the service gives the transaction its caller, in a second round trip, and its execution.
/// `:person_id` stands for the caller.
pub(crate) const CONTEXT: [&str; 2] = [
    "PREPARE context AS SELECT /* Context */ set_config('request.jwt.claims', $1, true)",
    "EXECUTE context('{\"sub\":\":person_id\"}')",
];

/// Returns the statement of the data service with the comment `/* name */`. Fails if there is not exactly
/// one, or if its number of parameters is not `arguments`.
pub(crate) fn statement(name: &str, arguments: usize) -> Result<String> {
    let directory = workspace::root().join("services/data/.sqlx");
    let comment = format!("/* {name} */");
    let mut matches = Vec::new();
    for path in workspace::files(&directory)? {
        let description: Value = serde_json::from_slice(&fs::read(&path)?)?;
        let query = description["query"]
            .as_str()
            .context("a description without a query")?;
        if query.contains(&comment) {
            let parameters = description["describe"]["parameters"]["Left"].as_array();
            matches.push((query.to_owned(), parameters.map_or(0, Vec::len)));
        }
    }
    ensure!(
        matches.len() == 1,
        "{} statements in {} have the comment {comment}",
        matches.len(),
        directory.display()
    );
    let (query, parameters) = matches.remove(0);
    ensure!(
        parameters == arguments,
        "the statement {name} has {parameters} parameters, but this benchmark has {arguments} arguments"
    );
    Ok(query)
}
