//! Functions: the roles that may execute each, and that SECURITY DEFINER functions return only what their arguments
//! select.

use std::collections::BTreeSet;

use anyhow::{Context, Result};
use haven_testkit::secrets::SUPERUSER;
use sqlx::{AssertSqlSafe, PgConnection, Row};

use super::{
    caller::{A, B, Caller},
    expectation::Outcome,
    intent::Intent,
    report, seeded,
    session::Session,
};

/// Selects every function that belongs neither to the server nor to an extension.
const FUNCTIONS: &str = "
    SELECT p.oid::regprocedure::text AS signature, n.nspname || '.' || p.proname AS name,
           array(SELECT format_type(t, NULL) FROM unnest(p.proargtypes) AS t) AS arguments,
           p.prorettype = 'trigger'::regtype AS is_trigger
      FROM pg_proc p JOIN pg_namespace n ON n.oid = p.pronamespace
     WHERE n.nspname NOT IN ('pg_catalog', 'information_schema')
       AND NOT EXISTS (SELECT FROM pg_depend WHERE classid = 'pg_proc'::regclass AND objid = p.oid AND deptype = 'e')
     ORDER BY 1";

#[tokio::test]
async fn each_function_is_executable_by_its_declared_roles_only() -> Result<()> {
    let (database, intent) = (seeded().await?, Intent::read());
    let mut superuser = database.connect(SUPERUSER).await?;
    // An empty search_path makes Postgres qualify all names in signatures.
    sqlx::query("SET search_path = ''")
        .execute(&mut superuser)
        .await?;
    let functions = sqlx::query(FUNCTIONS).fetch_all(&mut superuser).await?;
    let found: BTreeSet<String> = functions
        .iter()
        .map(|function| function.get("signature"))
        .collect();
    let declared: BTreeSet<String> = intent.functions.keys().cloned().collect();
    assert_eq!(found, declared, "functions: in the database, and in intent.toml");

    let mut failures = Vec::new();
    for (login, roles) in &intent.logins {
        let mut session = Session::open(&database, login).await?;
        for role in [None]
            .into_iter()
            .chain(roles.iter().map(|role| Some(role.as_str())))
        {
            session.begin(role, Caller::PersonA).await?;
            let role = role.unwrap_or(login);
            for function in &functions {
                let (name, signature): (String, String) = (function.get("name"), function.get("signature"));
                let arguments: Vec<String> = function.get("arguments");
                let arguments = arguments
                    .iter()
                    .map(|kind| argument(kind))
                    .collect::<Result<Vec<_>>>()?;
                // A trigger function is no relation, and fails after the check of the privilege.
                let call = match function.get("is_trigger") {
                    true => format!("SELECT count(*)::text WHERE {name}() IS NULL"),
                    false => format!("SELECT count(*)::text FROM {name}({})", arguments.join(", ")),
                };
                let outcome = session.attempt(&call).await?;
                let permitted = intent.functions[&signature].contains(role);
                // A value that cannot be used, or comes twice, or violates a constraint, shows that the function was executed.
                let of_values = |code: &str| ["21", "22", "23"].iter().any(|class| code.starts_with(class));
                let called =
                    outcome.reaches() || matches!(&outcome, Outcome::Failed(code) if of_values(code));
                if permitted != called || (!permitted && outcome != Outcome::Refused) {
                    let verb = if permitted { "may" } else { "may not" };
                    failures.push(format!("{role} {verb} call {signature}: {outcome}"));
                }
            }
            session.rollback().await?;
        }
    }
    report(&failures)
}

/// Returns a line for each role and function whose right to execute is not as declared.
pub(crate) async fn undeclared(superuser: &mut PgConnection, intent: &Intent) -> Result<Vec<String>> {
    let roles: Vec<&str> = intent.runtime_roles().into_iter().collect();
    let rights = "SELECT p.oid::regprocedure::text, role, has_function_privilege(role, p.oid, 'EXECUTE')
                    FROM pg_proc AS p JOIN pg_namespace AS n ON n.oid = p.pronamespace, unnest($1::text[]) AS role
                   WHERE n.nspname IN ('identity', 'data', 'auth')";
    let rights: Vec<(String, String, bool)> = sqlx::query_as(rights)
        .persistent(false)
        .bind(roles)
        .fetch_all(superuser)
        .await?;
    let declared = |signature: &str, role: &str| {
        intent
            .functions
            .get(signature)
            .is_some_and(|roles| roles.contains(role))
    };
    let wrong = rights
        .into_iter()
        .filter(|(signature, role, may)| declared(signature, role) != *may);
    Ok(wrong
        .map(|(signature, role, may)| {
            let verb = if may { "may" } else { "may not" };
            format!("{role} {verb} call {signature}")
        })
        .collect())
}

/// Returns an argument of the type. It is not NULL, because the planner removes a call of a strict function with NULL
/// before it checks the privilege.
pub(super) fn argument(kind: &str) -> Result<String> {
    let value = match kind {
        "uuid" => "00000000-0000-0000-0000-000000000000",
        // Some functions take the name of an event, which this is.
        "text" => "sign_in",
        "boolean" => "false",
        "jsonb" => "{}",
        "smallint" | "integer" | "bigint" => "1",
        "bytea" => "\\x0000000000000000000000000000000000000000000000000000000000000000",
        "bytea[]" => "{\"\\\\x0000000000000000000000000000000000000000000000000000000000000000\"}",
        "uuid[]" | "text[]" | "data.cycle_change[]" => "{}",
        "smallint[]" | "double precision[]" => "{1}",
        "double precision" => "1",
        "data.cycle_change" => "(,,,,,,,,,,,,,,)",
        "data.usage_counters" => "(,,,,,,,,,,,,,,,,,)",
        "timestamp with time zone[]" => "{2026-11-22 12:00:00+00}",
        "interval" => "1000 days",
        "interval[]" => "{1 s}",
        "timestamp with time zone" => "2026-11-22 12:00:00+00",
        _ => anyhow::bail!("add an argument of type {kind} here"),
    };
    Ok(format!("'{value}'::{kind}"))
}

#[tokio::test]
async fn a_lookup_function_finds_only_the_row_of_its_argument() -> Result<()> {
    let database = seeded().await?;
    let mut superuser = database.connect(SUPERUSER).await?;
    let requests = "SELECT id::text FROM identity.requests WHERE user_id = $1::uuid AND method = $2";
    let request =
        |person: &'static str, method: &'static str| sqlx::query_scalar(requests).bind(person).bind(method);
    let sign_up: String = request(A, "SignUp").fetch_one(&mut superuser).await?;
    let other: String = request(B, "SignIn").fetch_one(&mut superuser).await?;

    let mut anonymous = Session::open(&database, "identity_app").await?;
    anonymous.begin(Some("identity_anon"), Caller::NoClaims).await?;
    // A caller can set the setting that the functions use internally; they must ignore its value.
    let wanted = format!("SELECT set_config('identity.wanted_user', '{B}', true)");
    let credential = |email: &str| format!("SELECT user_id::text FROM identity.find_credential('{email}')");
    let sign_up_of = |request: &str| format!("SELECT user_id::text FROM identity.find_sign_up('{request}')");
    // The hash of B's requests in the seed is that of their name.
    let knows = |person: &str, request: &str, text: &str| {
        format!(
            "SELECT '{person}' WHERE identity.knows_sign_in('{person}', '{request}', ARRAY[sha256('{text}')])"
        )
    };
    let cases = [
        (knows(B, &other, "b"), vec![B]),
        (knows(B, &other, "another content"), vec![]),
        (knows(A, &other, "b"), vec![]),
        (knows(A, &sign_up, "a"), vec![]),
        (credential("a@example.com"), vec![A]),
        (credential("b@example.com"), vec![B]),
        (credential("nobody@example.com"), vec![]),
        (credential(""), vec![]),
        (credential("%"), vec![]),
        (sign_up_of(&sign_up), vec![A]),
        (sign_up_of(&other), vec![]),
        (sign_up_of(A), vec![]),
    ];
    let mut failures = Vec::new();
    for (sql, people) in cases {
        for batch in [sql.clone(), format!("{wanted}; {sql}")] {
            sqlx::raw_sql("ROLLBACK TO SAVEPOINT cell")
                .execute(&mut anonymous.connection)
                .await?;
            let rows = sqlx::raw_sql(AssertSqlSafe(batch.clone()))
                .fetch_all(&mut anonymous.connection)
                .await?;
            // The first row is the result of set_config.
            let found: Vec<String> = rows[usize::from(batch != sql)..]
                .iter()
                .map(|row| row.get(0))
                .collect();
            if found != people {
                failures.push(format!("{batch}: expected {people:?}, found {found:?}"));
            }
        }
    }
    report(&failures)
}

/// SECURITY DEFINER functions run as the owner, so a mistake in one could show every row that the owner sees.
#[tokio::test]
async fn an_owner_sees_no_rows_of_people() -> Result<()> {
    let (database, intent) = (seeded().await?, Intent::read());
    let mut failures = Vec::new();
    for owner in ["identity_owner", "data_owner"] {
        let mut session = database.connect(owner).await?;
        let schema = owner.split('_').next().context("a schema")?;
        for (relation, of) in &intent.relations {
            if of.person.is_none() || !relation.starts_with(&format!("{schema}.")) {
                continue;
            }
            let count = AssertSqlSafe(format!("SELECT count(*) FROM {relation}"));
            let seen: i64 = sqlx::query_scalar(count).fetch_one(&mut session).await?;
            if seen != 0 {
                failures.push(format!("{owner} sees {seen} rows of {relation}"));
            }
        }
    }
    report(&failures)
}

/// The request ids of sign-ups are unique among all people, so a person who could insert one could probe for those of
/// others.
#[tokio::test]
async fn only_a_sign_up_may_record_a_sign_up() -> Result<()> {
    let database = seeded().await?;
    let mut session = Session::open(&database, "identity_app").await?;
    let mut failures = Vec::new();
    for (role, method, expected) in [
        ("identity_user", "SignUp", Outcome::Refused),
        ("identity_user", "SignIn", Outcome::Rows(1)),
        ("identity_anon", "SignIn", Outcome::Refused),
        ("identity_anon", "SignUp", Outcome::Rows(1)),
    ] {
        session.begin(Some(role), Caller::PersonA).await?;
        let insert = format!(
            "INSERT INTO identity.requests (user_id, id, method, payload_mac, answer, created_at)
             VALUES ('{A}', gen_random_uuid(), '{method}', sha256(''), '{{}}', now())"
        );
        let found = session.attempt(&insert).await?;
        if found != expected {
            failures.push(format!(
                "{role} records {method}: expected {expected}, found {found}"
            ));
        }
        session.rollback().await?;
    }
    report(&failures)
}
