//! Reads the service's SQL statements from the offline data of sqlx (`.sqlx`), and writes them as pgbench runs them.

use std::fs;

use anyhow::{Context, Result, ensure};
use haven_data::domain::quota::{Quota, Quotas};
use haven_testkit::{database::Database, secrets::SUPERUSER, workspace};
use serde_json::{Map, Value, json};

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
    /// Returns the statement of the data service with the comment `/* name */`. `arguments` are SQL expressions: those of a
    /// function by the names of its parameters, and those of another statement in their order; further ones are for functions
    /// alone. `person_id` is the caller.
    ///
    /// Fails if there is not exactly one such statement, or if it has other parameters.
    pub(crate) async fn new(
        database: &Database,
        name: &str,
        arguments: &[(&str, String)],
        person_id: String,
    ) -> Result<Self> {
        let (sql, parameters) = find(name)?;
        let arguments: Vec<String> = match function(&sql) {
            Some(function) => {
                let names = parameter_names(database, function).await?;
                ensure!(
                    names.len() == parameters,
                    "{name} does not pass one parameter for each of {function}: {names:?}"
                );
                let value = |parameter: &String| {
                    let argument = arguments.iter().find(|(name, _)| name == parameter);
                    let argument = argument.map(|(_, value)| value.clone());
                    argument
                        .with_context(|| format!("this benchmark has no value for {parameter} of {function}"))
                };
                names.iter().map(value).collect::<Result<_>>()?
            }
            None => {
                ensure!(
                    parameters <= arguments.len(),
                    "the statement {name} has {parameters} parameters, but this benchmark has {} arguments",
                    arguments.len()
                );
                let arguments = arguments.iter().take(parameters);
                arguments.map(|(_, value)| value.clone()).collect()
            }
        };
        Ok(Self {
            sql,
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
        function(&self.sql).is_some()
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

/// Returns the name of the function that the whole statement calls, such as `get_message_1`, if it is such a call.
fn function(sql: &str) -> Option<&str> {
    let (_, rest) = sql.rsplit_once("FROM data.")?;
    let (name, _) = rest.split_once('(')?;
    let (_, version) = name.rsplit_once('_')?;
    let is_version = !version.is_empty() && version.bytes().all(|byte| byte.is_ascii_digit());
    is_version.then_some(name)
}

/// Returns the names of the parameters of a function of the schema `data`.
async fn parameter_names(database: &Database, function: &str) -> Result<Vec<String>> {
    let mut superuser = database.connect(SUPERUSER).await?;
    let names: Vec<String> = sqlx::query_scalar(
        "SELECT proargnames[1:pronargs] FROM pg_proc WHERE pronamespace = 'data'::regnamespace AND proname = $1",
    )
    .bind(function)
    .fetch_one(&mut superuser)
    .await
    .with_context(|| format!("the function {function}"))?;
    Ok(names)
}

/// Returns the limits that the service gives a transaction of a person, as JSON in an SQL expression.
pub(crate) fn limits() -> String {
    let quotas = Quotas::default();
    let limits = Quota::ALL
        .into_iter()
        .filter_map(|quota| Some((quota.name().to_owned(), json!(quotas.limit(quota)?))));
    // A million a minute, as the testkit configures it.
    let mutations = [
        ("mutation_emission", 60),
        ("mutation_tolerance", 59_999_940),
        ("mutations", 1_000_000),
    ];
    let mutations = mutations.map(|(name, value)| (name.to_owned(), json!(value)));
    let limits: Map<String, Value> = limits.chain(mutations).collect();
    format!("'{}'", Value::Object(limits))
}

/// Returns the statement with the comment `/* name */`, and its number of parameters.
fn find(name: &str) -> Result<(String, usize)> {
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
    Ok(matches.remove(0))
}
