//! A statement of a service with its caller and its arguments.

use std::{collections::BTreeMap, fs};

use anyhow::{Context, Result, bail, ensure};
use haven_testkit::workspace;
use serde::Deserialize;

/// An id of no person, for a caller who has no row yet, and for new rows.
const NEW: &str = "00000000-0000-7000-a000-000000000001";

/// The columns of an encrypted change after its payload.
const ENVELOPE: &str = "1::smallint, 'aes_256_gcm', 2, substr(sha256('nonce'), 1, 12), substr(sha256('salt'), 1, 16), 19456, 2, 1, \
                        1::smallint, now()";

/// A statement, and how it is called.
#[derive(Debug)]
pub(super) struct Statement {
    schema: &'static str,
    name: String,
    query: String,
    call: Call,
    /// Why the statement may read every row.
    pub(super) reads_all: Option<String>,
    /// The blocks that the statement may touch in any case.
    pub(super) at_most: i64,
}

/// An entry of `identity.toml` or `data.toml`.
#[derive(Debug, Deserialize)]
#[serde(deny_unknown_fields)]
struct Call {
    r#as: String,
    #[serde(default)]
    with: String,
    #[serde(default)]
    before: String,
    #[serde(default = "one")]
    rows: u64,
    sql: Option<String>,
    reads_all: Option<String>,
    at_most: Option<i64>,
    because: Option<String>,
}

/// A file of sqlx's offline query data.
#[derive(Deserialize)]
struct Prepared {
    query: String,
}

fn one() -> u64 {
    1
}

impl Statement {
    /// Returns every statement of both services.
    pub(super) fn all() -> Result<Vec<Self>> {
        let mut all = Vec::new();
        for (schema, calls) in [
            ("identity", include_str!("identity.toml")),
            ("data", include_str!("data.toml")),
        ] {
            let mut calls: BTreeMap<String, Call> = toml::from_str(calls)?;
            let mut queries: Vec<(String, String)> = prepared(schema)?;
            for (name, call) in &calls {
                queries.extend(call.sql.clone().map(|sql| (name.clone(), sql)));
            }
            for (name, query) in queries {
                let mut call = calls.remove(&name).with_context(|| {
                    format!("{schema}.toml has no arguments for `{name}`: each statement of the services needs some")
                })?;
                let reasons = [&call.reads_all, &call.because].into_iter().flatten();
                ensure!(
                    reasons.into_iter().all(|reason| reason.len() >= 20)
                        && call.at_most.is_some() == call.because.is_some(),
                    "{schema}.toml: `{name}` needs a reason in words"
                );
                all.push(Self {
                    schema,
                    name,
                    query,
                    reads_all: call.reads_all.take(),
                    at_most: call.at_most.unwrap_or_default(),
                    call,
                });
            }
            ensure!(
                calls.is_empty(),
                "{schema}.toml has statements that are not in the code: {:?}",
                calls.keys()
            );
        }
        Ok(all)
    }

    /// The schema and the name.
    pub(super) fn title(&self) -> String {
        format!("{}: {}", self.schema, self.name)
    }

    /// The number of rows that the statement returns or changes.
    pub(super) fn rows(&self) -> u64 {
        self.call.rows
    }

    /// What a superuser runs before, for the caller with this number.
    pub(super) fn before(&self, caller: usize) -> String {
        substitute(&self.call.before, caller)
    }

    /// The statements that begin the transaction of the caller, and prepare the statement as `growth`.
    pub(super) fn prepare(&self, caller: usize) -> Result<String> {
        let (role, person) = match self.call.r#as.split_once(' ') {
            Some((role, "me")) => (role, Some(person(caller))),
            Some((role, "new")) => (role, Some(NEW.to_owned())),
            None if self.call.r#as == "user" => ("user", Some(person(caller))),
            None => (self.call.r#as.as_str(), None),
            Some(_) => bail!("{}: unknown caller {}", self.title(), self.call.r#as),
        };
        let (role, claims) = match (role, person) {
            ("readonly", _) => ("haven_readonly".to_owned(), "{}".to_owned()),
            ("lease", _) => (
                format!("{}_service", self.schema),
                format!(r#"{{"lease":"{}"}}"#, self::person(caller)),
            ),
            (role, Some(person)) => (
                format!("{}_{role}", self.schema),
                format!(r#"{{"sub":"{person}"}}"#),
            ),
            (role, None) => (format!("{}_{role}", self.schema), "{}".to_owned()),
        };
        let limits = match role.ends_with("_user") {
            true => {
                r#"{"mutation_emission":1000,"mutation_tolerance":60000000,"mutations":1000,"messages":1000000,"records":1000000}"#
            }
            false => "",
        };
        Ok(format!(
            "SELECT set_config('request.jwt.claims', '{claims}', true), set_config('data.limits', '{limits}', true);
             SET LOCAL ROLE {role};
             PREPARE growth AS {}",
            self.query
        ))
    }

    /// The statement that executes what [`Statement::prepare`] prepared.
    pub(super) fn execute(&self, caller: usize) -> String {
        match self.call.with.as_str() {
            "" => "EXECUTE growth".to_owned(),
            with => format!("EXECUTE growth({})", substitute(with, caller)),
        }
    }
}

/// Returns the names and the texts of the statements that sqlx checked at compile time.
fn prepared(schema: &str) -> Result<Vec<(String, String)>> {
    let directory = workspace::root().join("services").join(schema).join(".sqlx");
    let mut all = Vec::new();
    for file in workspace::files(&directory)? {
        let Prepared { query } = serde_json::from_str(&fs::read_to_string(&file)?)?;
        let name = query
            .split_once("/* ")
            .and_then(|(_, rest)| rest.split_once(" */"))
            .map(|(name, _)| name.to_owned())
            .with_context(|| format!("{} has no name in a comment", file.display()))?;
        all.push((name, query));
    }
    all.sort();
    Ok(all)
}

/// The id of a person of `fill.sql`.
fn person(number: usize) -> String {
    format!("00000000-0000-7000-8000-{number:012x}")
}

fn substitute(sql: &str, caller: usize) -> String {
    let id = person(caller);
    let change = |record: &str, version: u8| {
        format!(
            "ROW({record}, {version}, false, sha256('payload'), {ENVELOPE}, '{NEW}'::uuid)::data.cycle_change"
        )
    };
    sql.replace("{me}", &format!("'{id}'::uuid"))
        .replace("{erased}", &format!("'eeeeeeee{}'::uuid", &id[8..]))
        .replace("{hash}", &format!("sha256('{caller}')"))
        .replace("{email}", &format!("'{caller}@example.org'"))
        .replace("{change}", &change(&format!("'{NEW}'::uuid"), 0))
        .replace("{update}", &change(&format!("'{id}'::uuid"), 1))
        .replace("{new}", &format!("'{NEW}'::uuid"))
        .replace("{fresh}", "sha256('fresh')")
        .replace("{nil}", "'00000000-0000-0000-0000-000000000000'::uuid")
        .replace("{max}", "'ffffffff-ffff-ffff-ffff-ffffffffffff'::uuid")
}
