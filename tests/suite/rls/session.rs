//! A connection of a login, and the outcomes of statements on it.

use std::collections::BTreeMap;

use anyhow::{Context, Result, bail, ensure};
use bytes::Bytes;
use futures_util::TryStreamExt;
use haven_testkit::{database::Database, secrets::SUPERUSER};
use serde_json::Value;
use sqlx::{AssertSqlSafe, Error, PgConnection, Row};

use super::{caller::Caller, expectation::Outcome};

/// Runs statements in the server: there are tens of thousands, and a round trip for each would take minutes on a busy
/// machine. A DO block runs with the rights of its caller, and the block around each statement is a savepoint; the
/// error that ends it, either the statement's or the one that carries the outcome, undoes the statement.
const ATTEMPTS: &str = r#"DO $do$
    DECLARE
        statement text;
        person text;
        affected bigint;
        seen jsonb;
        outcomes jsonb := '[]';
    BEGIN
        FOREACH statement IN ARRAY ARRAY[{statements}] LOOP
            BEGIN
                IF statement LIKE 'SELECT%' THEN
                    seen := '{}';
                    FOR person IN EXECUTE statement LOOP
                        person := coalesce(person, '');
                        seen := seen || jsonb_build_object(person, coalesce((seen ->> person)::int, 0) + 1);
                    END LOOP;
                    RAISE EXCEPTION USING ERRCODE = 'ZZ000', MESSAGE = seen::text;
                END IF;
                EXECUTE statement;
                GET DIAGNOSTICS affected = ROW_COUNT;
                RAISE EXCEPTION USING ERRCODE = 'ZZ000', MESSAGE = affected::text;
            EXCEPTION WHEN OTHERS THEN
                outcomes := outcomes || jsonb_build_array(
                    CASE SQLSTATE WHEN 'ZZ000' THEN SQLERRM::jsonb ELSE to_jsonb(SQLSTATE) END);
            END;
        END LOOP;
        PERFORM set_config('testing.outcomes', outcomes::text, true);
    END $do$"#;

/// A connection of one login.
pub(crate) struct Session {
    pub(crate) connection: PgConnection,
    login: String,
    database: Database,
    /// `true` when it is a part of an open transaction of the superuser: see [`Session::nested`].
    nested: bool,
}

impl Session {
    /// Connects as `login`.
    pub(crate) async fn open(database: &Database, login: &str) -> Result<Self> {
        Ok(Self {
            connection: database.connect(login).await?,
            login: login.to_owned(),
            database: database.clone(),
            nested: false,
        })
    }

    /// Connects as the superuser, and opens a transaction. Within it, [`begin`](Self::begin) becomes the login of
    /// [`act_as`](Self::act_as) with SET SESSION AUTHORIZATION, and [`rollback`](Self::rollback) the superuser again. So
    /// statements are tried against changes that are not committed.
    ///
    /// Such a session has no settings of its login, and cannot try COPY.
    pub(crate) async fn nested(database: &Database) -> Result<Self> {
        let mut session = Self::open(database, SUPERUSER).await?;
        session.nested = true;
        session.execute("SET search_path = ''; BEGIN").await?;
        Ok(session)
    }

    /// Chooses the login of the next [`begin`](Self::begin) of a nested session.
    pub(crate) fn act_as(&mut self, login: &str) {
        login.clone_into(&mut self.login);
    }

    /// Returns `true` when COPY can be tried.
    pub(crate) fn can_copy(&self) -> bool {
        !self.nested
    }

    /// Begins a transaction as the services do, with a role and a caller. `None` keeps the login as the role.
    pub(crate) async fn begin(&mut self, role: Option<&str>, caller: Caller) -> Result<()> {
        if self.nested {
            let become_login = format!(
                "SAVEPOINT session; SET LOCAL SESSION AUTHORIZATION {}",
                self.login
            );
            self.execute(&become_login).await?;
        } else {
            // A login may be read-only by default, which protects nothing, because a session can override it.
            self.execute("BEGIN READ WRITE").await?;
        }
        if let Some(role) = role {
            self.execute(&format!("SELECT set_config('role', '{role}', true)"))
                .await?;
        }
        match caller.claims() {
            None => {
                let untouched = "SELECT current_setting('request.jwt.claims', true) IS NULL";
                let untouched: bool = sqlx::query_scalar(untouched)
                    .fetch_one(&mut self.connection)
                    .await?;
                ensure!(untouched, "the claims were set on this connection");
            }
            Some(claims) => {
                let claims = claims.replace('\'', "''");
                self.execute(&format!(
                    "SELECT set_config('request.jwt.claims', '{claims}', true)"
                ))
                .await?;
            }
        }
        self.execute("SAVEPOINT cell").await
    }

    /// Rolls back what was done since [`begin`](Self::begin).
    pub(crate) async fn rollback(&mut self) -> Result<()> {
        match self.nested {
            true => {
                self.execute("ROLLBACK TO SAVEPOINT session; RELEASE SAVEPOINT session")
                    .await
            }
            false => self.execute("ROLLBACK").await,
        }
    }

    /// Returns the outcome of `sql`, as [`Session::attempt_all`] does.
    pub(crate) async fn attempt(&mut self, sql: &str) -> Result<Outcome> {
        let outcomes = self.attempt_all("", &[sql.to_owned()]).await?;
        outcomes.into_iter().next().context("an outcome")
    }

    /// Returns the outcome of each of `statements`, after `setup` (statements, or an empty string). Each is run by
    /// itself, and undone.
    pub(crate) async fn attempt_all(&mut self, setup: &str, statements: &[String]) -> Result<Vec<Outcome>> {
        let statements: Vec<String> = statements.iter().map(|sql| format!("$sql${sql}$sql$")).collect();
        let attempts = ATTEMPTS.replace("{statements}", &statements.join(", "));
        let batch = format!(
            "ROLLBACK TO SAVEPOINT cell; {setup}; {attempts}; SELECT current_setting('testing.outcomes')"
        );
        let rows = sqlx::raw_sql(AssertSqlSafe(batch))
            .fetch_all(&mut self.connection)
            .await?;
        let outcomes: String = rows.last().context("the outcomes")?.try_get(0)?;
        let outcomes: Vec<Value> = serde_json::from_str(&outcomes)?;
        outcomes.into_iter().map(outcome).collect()
    }

    /// Returns the outcome of a `COPY … TO STDOUT`. `allowed` says whether it is expected to return rows; after another
    /// outcome the connection cannot be used any more.
    pub(crate) async fn attempt_copy(&mut self, sql: &str, allowed: bool) -> Result<Outcome> {
        self.execute("ROLLBACK TO SAVEPOINT cell").await?;
        if !allowed {
            // sqlx 0.9 loses track of the server's messages when a COPY TO is refused, but not when a COPY FROM is, so
            // this pretends to run a COPY FROM. Any outcome but a refusal is then a protocol error.
            let copied = self.connection.copy_in_raw(sql).await;
            return Ok(copied.map_or_else(refusal, |_| Outcome::Rows(0)));
        }
        let copied: Result<Vec<Bytes>, Error> = match self.connection.copy_out_raw(sql).await {
            Ok(parts) => parts.try_collect().await,
            Err(error) => Err(error),
        };
        let text = match copied {
            Ok(parts) => String::from_utf8(parts.concat())?,
            Err(error) => return Ok(refusal(error)),
        };
        let mut seen = BTreeMap::new();
        for person in text.lines() {
            *seen.entry(person.to_owned()).or_default() += 1;
        }
        Ok(Outcome::Seen(seen))
    }

    /// Replaces the connection by a new one.
    pub(crate) async fn reopen(&mut self) -> Result<()> {
        self.connection = self.database.connect(&self.login).await?;
        Ok(())
    }

    /// Runs one or more statements.
    pub(crate) async fn execute(&mut self, sql: &str) -> Result<()> {
        sqlx::raw_sql(AssertSqlSafe(sql))
            .execute(&mut self.connection)
            .await?;
        Ok(())
    }
}

/// Parses an outcome that [`ATTEMPTS`] wrote: a number of rows, rows by person, or an SQLSTATE.
fn outcome(value: Value) -> Result<Outcome> {
    match value {
        Value::Number(rows) => Ok(Outcome::Rows(rows.as_u64().context("a number of rows")?)),
        Value::Object(_) => Ok(Outcome::Seen(serde_json::from_value(value)?)),
        Value::String(code) => Ok(failure(code)),
        value => bail!("{value} is not an outcome"),
    }
}

/// Returns the outcome for an error of sqlx.
fn refusal(error: Error) -> Outcome {
    match error {
        Error::Database(error) => failure(error.code().unwrap_or_default().into_owned()),
        error => Outcome::Failed(error.to_string()),
    }
}

/// Returns the outcome for an SQLSTATE.
fn failure(code: String) -> Outcome {
    if code == "42501" {
        Outcome::Refused
    } else {
        Outcome::Failed(code)
    }
}
