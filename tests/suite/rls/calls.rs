//! Functions that a login calls in place of a transaction: each takes the identity of its caller before anything else, and
//! for its own statement only.

use std::time::Duration;

use anyhow::Result;
use haven_testkit::secrets::SUPERUSER;
use sqlx::{AssertSqlSafe, Row, raw_sql};

use super::{
    caller::{A, B, Caller},
    expectation::Outcome,
    functions::argument,
    intent::Intent,
    report, seeded,
    session::Session,
};

/// Selects the functions that a login may execute, apart from the versions of the schema.
const CALLS: &str = "
    SELECT p.oid::regprocedure::text AS signature, n.nspname || '.' || p.proname AS name, p.prosrc AS body,
           p.prosecdef AS definer, p.proconfig = ARRAY['search_path=\"\"'] AS has_path, l.lanname AS language,
           n.nspname AS schema, r.rolname::text AS login, p.proargnames[1] AS first,
           array(SELECT format_type(t, NULL) FROM unnest(p.proargtypes) AS t) AS arguments
      FROM pg_proc p JOIN pg_namespace n ON n.oid = p.pronamespace JOIN pg_language l ON l.oid = p.prolang
           JOIN pg_roles r ON r.rolname IN ('identity_app', 'identity_worker', 'data_app', 'data_worker')
     WHERE n.nspname IN ('identity', 'data') AND has_function_privilege(r.oid, p.oid, 'EXECUTE')
       AND p.proname NOT IN ('schema_version', 'oldest_binary')
     ORDER BY 1";

/// What a connection is before and after a call.
const STATE: &str =
    "SELECT current_user::text || ' ' || coalesce(current_setting('request.jwt.claims', true), '')
                     || coalesce(current_setting('data.limits', true), '')";

#[tokio::test]
async fn each_call_takes_the_identity_of_its_caller_first() -> Result<()> {
    let (database, intent) = (seeded().await?, Intent::read());
    let mut superuser = database.connect(SUPERUSER).await?;
    raw_sql("SET search_path = ''").execute(&mut superuser).await?;
    let calls = raw_sql(CALLS).fetch_all(&mut superuser).await?;
    assert!(!calls.is_empty(), "the check finds nothing");
    let mut failures = Vec::new();
    for call in &calls {
        let (signature, body, login): (String, String, String) =
            (call.get("signature"), call.get("body"), call.get("login"));
        let mut must = |is_so: bool, rule: &str| {
            if !is_so {
                failures.push(format!("{signature} {rule}"));
            }
        };
        must(!call.get::<bool, _>("definer"), "must be SECURITY INVOKER");
        must(
            call.get::<Option<bool>, _>("has_path") == Some(true),
            "must have an empty search_path",
        );
        must(call.get::<String, _>("language") == "plpgsql", "must be plpgsql");
        let version = call.get::<String, _>("name");
        let version = version.rsplit('_').next().unwrap_or_default();
        must(
            !version.is_empty() && version.bytes().all(|byte| byte.is_ascii_digit()),
            "must end in the number of its version",
        );
        must(
            intent.functions[&signature].len() == 1,
            "must be executable by its login alone",
        );
        // The statements up to the one that takes the role. All of them are settings.
        let statements = body.split_once("BEGIN").map_or("", |(_, statements)| statements);
        let role = "'role', '";
        let (settings, rest) = statements.split_once(role).unwrap_or((statements, ""));
        let is_setting = |statement: &str| {
            let statement = statement.lines().map(str::trim);
            let statement = statement
                .filter(|line| !line.starts_with("--"))
                .collect::<String>();
            statement.is_empty()
                || statement
                    .split_once(" := pg_catalog.set_config(")
                    .is_some_and(|(name, _)| {
                        name.bytes().all(|byte| byte.is_ascii_lowercase() || byte == b'_')
                    })
        };
        must(
            settings.split(";\n").all(is_setting),
            "must do nothing before it takes its role",
        );
        must(
            settings.contains("'request.jwt.claims'"),
            "must set its claims before it takes its role",
        );
        let role = rest.split('\'').next().unwrap_or_default();
        must(
            intent.logins[&login].iter().any(|of_login| of_login == role),
            "must take a role of its login",
        );
    }
    report(&failures)
}

#[tokio::test]
async fn the_identity_of_a_call_ends_with_its_statement() -> Result<()> {
    let database = seeded().await?;
    let mut superuser = database.connect(SUPERUSER).await?;
    raw_sql("SET search_path = ''").execute(&mut superuser).await?;
    let mut failures = Vec::new();
    for call in raw_sql(CALLS).fetch_all(&mut superuser).await? {
        let (signature, name, login): (String, String, String) =
            (call.get("signature"), call.get("name"), call.get("login"));
        let mut session = Session::open(&database, &login).await?;
        let arguments: Vec<String> = call.get("arguments");
        let arguments: Vec<String> = arguments
            .iter()
            .map(|kind| argument(kind))
            .collect::<Result<_>>()?;
        let before: String = raw_sql(STATE).fetch_one(&mut session.connection).await?.get(0);
        let statement = format!("SELECT count(*) FROM {name}({})", arguments.join(", "));
        // Some of them refuse these arguments, after they took the identity.
        let _ = raw_sql(AssertSqlSafe(statement))
            .execute(&mut session.connection)
            .await;
        let after: String = raw_sql(STATE).fetch_one(&mut session.connection).await?.get(0);
        if before != after {
            failures.push(format!("{signature} leaves {after:?} where {before:?} was"));
        }
    }
    report(&failures)
}

/// The rows behind a call are those of its first argument alone, and there are none without one.
#[tokio::test]
async fn a_call_reads_the_rows_of_its_caller_alone() -> Result<()> {
    let database = seeded().await?;
    let mut superuser = database.connect(SUPERUSER).await?;
    let message =
        |person: &str| format!("SELECT id::text FROM data.conversations WHERE user_id = '{person}' LIMIT 1");
    let of_a: String = raw_sql(AssertSqlSafe(message(A)))
        .fetch_one(&mut superuser)
        .await?
        .get(0);
    let of_b: String = raw_sql(AssertSqlSafe(message(B)))
        .fetch_one(&mut superuser)
        .await?
        .get(0);
    let mut app = Session::open(&database, "data_app").await?;
    // Claims of the connection have no effect on a call.
    let claims = format!("SELECT set_config('request.jwt.claims', '{{\"sub\":\"{B}\"}}', false)");
    app.execute(&claims).await?;
    let (a, nothing) = (format!("'{A}'"), "NULL".to_owned());
    for (caller, message, expected) in [
        (&a, &of_a, 1),
        (&a, &of_b, 0),
        (&nothing, &of_a, 0),
        (&nothing, &of_b, 0),
    ] {
        let statement = format!("SELECT count(*) FROM data.get_message_1({caller}, '{message}')");
        let rows: i64 = raw_sql(AssertSqlSafe(statement))
            .fetch_one(&mut app.connection)
            .await?
            .get(0);
        assert_eq!(rows, expected, "{caller} and {message}");
    }
    let list = format!(
        "SELECT DISTINCT c.user_id::text FROM data.conversations AS c WHERE c.id IN (SELECT id FROM data.list_messages_1('{A}', 0, 100, false, 100))"
    );
    // The login itself reads no table.
    let people = raw_sql(AssertSqlSafe(list)).fetch_all(&mut app.connection).await;
    assert!(people.is_err());
    Ok(())
}

/// A function that was admitted once asks no more within its transaction. That it was is said with the claims of its caller.
#[tokio::test]
async fn no_call_reaches_the_rows_of_a_locked_person() -> Result<()> {
    let database = seeded().await?;
    let lock = format!("UPDATE data.users SET locked_at = now() WHERE id = '{A}'");
    database.run(SUPERUSER, &lock).await?;
    let mut superuser = database.connect(SUPERUSER).await?;
    let message = format!("SELECT id::text FROM data.conversations WHERE user_id = '{A}' LIMIT 1");
    let message: String = raw_sql(AssertSqlSafe(message))
        .fetch_one(&mut superuser)
        .await?
        .get(0);
    let refused = Outcome::Failed("UL001".to_owned());
    let device = "(SELECT gen_random_uuid())";
    let change = "ROW(gen_random_uuid(), 1, true, NULL, NULL, NULL, NULL, NULL, NULL, NULL, NULL, NULL, NULL, now(), NULL)::data.cycle_change";
    let mut app = Session::open(&database, "data_app").await?;
    for call in [
        format!(
            "SELECT outcome FROM data.change_record_1('{A}', '', gen_random_uuid(), 'DeleteRecord', '{{}}', {device}, {change}, now(), false)"
        ),
        format!(
            "SELECT answer FROM data.push_changes_1('{A}', '', gen_random_uuid(), '{{}}', {device}, true, now(), ARRAY[{change}])"
        ),
        format!("SELECT status FROM data.read_changes_1('{A}', {device}, 0, 100)"),
        format!("SELECT status FROM data.get_record_1('{A}', {device}, gen_random_uuid())"),
        format!("SELECT id::text FROM data.get_message_1('{A}', '{message}')"),
    ] {
        app.begin(None, Caller::NoClaims).await?;
        assert_eq!(app.attempt(&call).await?, refused, "{call}");
        app.rollback().await?;
        app.reopen().await?;
    }
    app.begin(Some("data_user"), Caller::PersonA).await?;
    for admitted in ["", "{}", &format!("{{\"sub\":\"{B}\"}}")] {
        app.execute(&format!("ROLLBACK TO SAVEPOINT cell; SELECT set_config('data.admitted', '{admitted}', true); SAVEPOINT cell"))
            .await?;
        let found = app
            .attempt("SELECT id::text FROM data.encrypted_cycle_data")
            .await?;
        assert_eq!(found, refused, "{admitted}");
    }
    Ok(())
}

/// The answer to whether a person is locked is one of the time after the wait for the lock of their changes.
#[tokio::test]
async fn a_person_who_is_locked_while_a_change_waits_is_refused() -> Result<()> {
    let database = seeded().await?;
    let change = "ROW(gen_random_uuid(), 1, true, NULL, NULL, NULL, NULL, NULL, NULL, NULL, NULL, NULL, NULL, now(), NULL)::data.cycle_change";
    for call in [
        format!(
            "SELECT outcome FROM data.change_record_1('{A}', '', gen_random_uuid(), 'DeleteRecord', '{{}}', gen_random_uuid(), {change}, now(), false)"
        ),
        format!(
            "SELECT answer FROM data.push_changes_1('{A}', '', gen_random_uuid(), '{{}}', gen_random_uuid(), true, now(), ARRAY[{change}])"
        ),
    ] {
        let unlock = format!("UPDATE data.users SET locked_at = NULL WHERE id = '{A}'");
        database.run(SUPERUSER, &unlock).await?;
        let mut holder = database.connect(SUPERUSER).await?;
        let hold =
            format!("BEGIN; UPDATE data.change_counters SET last_number = last_number WHERE user_id = '{A}'");
        raw_sql(AssertSqlSafe(hold)).execute(&mut holder).await?;
        let mut app = Session::open(&database, "data_app").await?;
        app.begin(None, Caller::NoClaims).await?;
        let lock = async {
            let waits = "SELECT EXISTS (SELECT FROM pg_stat_activity
                WHERE datname = current_database() AND usename = 'data_app' AND wait_event_type = 'Lock')";
            while !raw_sql(waits).fetch_one(&mut holder).await?.get::<bool, _>(0) {
                tokio::time::sleep(Duration::from_millis(10)).await;
                // Within a transaction the view would not change.
                raw_sql("SELECT pg_stat_clear_snapshot()")
                    .execute(&mut holder)
                    .await?;
            }
            let lock = format!("UPDATE data.users SET locked_at = now() WHERE id = '{A}'");
            database.run(SUPERUSER, &lock).await?;
            raw_sql("COMMIT").execute(&mut holder).await?;
            anyhow::Ok(())
        };
        let lock = tokio::time::timeout(Duration::from_secs(30), lock);
        let (outcome, locked) = tokio::join!(app.attempt(&call), lock);
        locked??;
        assert_eq!(outcome?, Outcome::Failed("UL001".to_owned()), "{call}");
    }
    Ok(())
}
