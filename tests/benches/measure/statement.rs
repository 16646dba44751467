//! Reads the service's SQL statements from the offline data of sqlx (`.sqlx`), and writes them as pgbench runs them.

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

/// The round trips of a transaction.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Trips {
    /// The statement alone: the call of a function that takes the caller as its first argument.
    One,
    /// The transaction begins, runs the statement for a caller, and commits.
    Three,
}

/// A statement of the data service with the arguments of one call.
pub(crate) struct Statement {
    sql: String,
    arguments: String,
    person_id: String,
}

impl Statement {
    /// Returns the statement of the data service with the comment `/* name */`. Fails if there is not exactly one, or if its
    /// number of parameters is not that of `arguments`, which are SQL expressions. `person_id` is the caller.
    pub(crate) fn new(name: &str, arguments: &[String], person_id: String) -> Result<Self> {
        Ok(Self {
            sql: statement(name, arguments.len())?,
            arguments: arguments.join(", "),
            person_id,
        })
    }

    /// Returns the ways to run the statement: first the one of the service.
    pub(crate) fn trips(&self) -> &'static [Trips] {
        if self.is_call() {
            &[Trips::One, Trips::Three]
        } else {
            &[Trips::Three]
        }
    }

    /// Returns the statements of a transaction, each with the semicolon that ends a round trip of pgbench. Each connection
    /// prepares them once, and the variable `prepared` stores that it did.
    pub(crate) fn script(&self, trips: Trips) -> String {
        let (begin, commit) = match (trips, self.is_call()) {
            (Trips::One, _) => (String::new(), ""),
            // The function gives the transaction its role.
            (Trips::Three, true) => (format!("{};\n", BEGIN[..2].join(" \\; ")), "COMMIT;\n"),
            (Trips::Three, false) => (format!("{};\n", BEGIN.join(" \\; ")), "COMMIT;\n"),
        };
        format!(
            "{begin}\\if :prepared = 0\n{};\n\\set prepared 1\n\\endif\n{};\n{commit}",
            self.prepare(";\n"),
            self.execute(";\n"),
        )
    }

    /// Returns the same as SQL, without COMMIT.
    pub(crate) fn transaction(&self) -> String {
        let begin = if self.is_call() { &BEGIN[..2] } else { &BEGIN };
        format!(
            "{}; {}; {}",
            begin.join("; "),
            self.prepare("; "),
            self.execute("; ")
        )
    }

    /// Returns statements that let the rest of the transaction see the rows of the caller.
    pub(crate) fn as_caller(&self) -> String {
        let claims = format!("{{\"sub\":\"{}\"}}", self.person_id);
        format!("SET LOCAL ROLE data_user; SELECT set_config('request.jwt.claims', '{claims}', true)")
    }

    /// Returns the number of rows that [`transaction`](Self::transaction) returns beside those of the statement.
    pub(crate) fn other_rows(&self) -> usize {
        if self.is_call() { 1 } else { 2 }
    }

    /// Returns true if the statement is the call of a function, which sets the caller and the role itself.
    fn is_call(&self) -> bool {
        let from = self.sql.rsplit_once("FROM data.");
        let function = from.and_then(|(_, rest)| rest.split_once('('));
        function.is_some_and(|(name, _)| {
            let version = name.rsplit_once('_').map_or("", |(_, version)| version);
            !version.is_empty() && version.bytes().all(|byte| byte.is_ascii_digit())
        })
    }

    fn prepare(&self, separator: &str) -> String {
        let prepare = format!("PREPARE call AS {}", self.sql);
        if self.is_call() {
            prepare
        } else {
            [CONTEXT[0], &prepare].join(separator)
        }
    }

    fn execute(&self, separator: &str) -> String {
        let execute = format!("EXECUTE call({})", self.arguments);
        if self.is_call() {
            execute
        } else {
            let context = CONTEXT[1].replace(":person_id", &self.person_id);
            [context, execute].join(separator)
        }
    }
}

/// Returns the statement with the comment `/* name */` and this number of parameters.
fn statement(name: &str, arguments: usize) -> Result<String> {
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
