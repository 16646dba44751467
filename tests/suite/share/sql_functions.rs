//! The SQL functions of shares, as an operator calls them in psql with the output of `data share-hashes`.

use std::{
    io::Write,
    process::{Command, Output, Stdio},
};

use haven_testkit::{Stack, binaries::Binaries, database::Database};
use sqlx::{AssertSqlSafe, Connection, PgConnection, Row, postgres::PgRow};

use super::{Sharer, open};
use crate::superuser_sql::execute;

/// Runs `data share-hashes` with `lines` as its input.
async fn run(lines: &str, variables: &[(&str, &str)], arguments: &[&str]) -> Output {
    let mut command = Command::new(Binaries::build().unwrap().of("data"));
    command.arg("share-hashes").args(arguments).env_clear();
    command.envs(variables.iter().copied());
    let pipes = command.stdin(Stdio::piped()).stdout(Stdio::piped());
    let mut child = pipes.stderr(Stdio::piped()).spawn().unwrap();
    // A process that has ended does not read.
    let _ = child.stdin.take().unwrap().write_all(lines.as_bytes());
    let ended = tokio::task::spawn_blocking(move || child.wait_with_output());
    ended.await.unwrap().unwrap()
}

/// Returns the hashes that the command prints for `lines` with the stack's secret, as SQL literals: the token's, and
/// the passcode's if `lines` has one.
async fn hashes(stack: &Stack, lines: &str) -> Vec<String> {
    let secret = ("SECRET_KEY", stack.data.variables["SECRET_KEY"].as_str());
    let output = run(lines, &[secret], &[]).await;
    assert!(output.status.success(), "{output:?}");
    let printed = String::from_utf8(output.stdout).unwrap();
    let lines = printed.lines().zip(["token_hash    ", "passcode_hash "]);
    lines
        .map(|(line, name)| line.strip_prefix(name).unwrap().to_owned())
        .collect()
}

/// Runs `sql` in a transaction of `role` with the given claims.
async fn as_role(database: &Database, role: &str, claims: &str, sql: &str) -> Result<Vec<PgRow>, String> {
    let login = if role.starts_with("data_") {
        "data_app"
    } else {
        role
    };
    let mut connection: PgConnection = database.connect(login).await.unwrap();
    let mut tx = connection.begin().await.unwrap();
    let begin = format!("SET LOCAL ROLE {role}; SELECT set_config('request.jwt.claims', '{claims}', true)");
    sqlx::raw_sql(AssertSqlSafe(begin))
        .execute(&mut *tx)
        .await
        .unwrap();
    let rows = sqlx::query(AssertSqlSafe(sql)).fetch_all(&mut *tx).await;
    let rows = rows.map_err(|error| error.to_string())?;
    tx.commit().await.unwrap();
    Ok(rows)
}

#[tokio::test]
async fn a_share_opens_with_the_hashes_that_the_command_prints() {
    let stack = Stack::shared().await.unwrap();
    let ada = Sharer::invent(stack).await;
    let request = ada.share_request_with_passcode("1234", 2);
    let created = ada.create_share(request.clone()).await;
    let database: &Database = &stack.database;
    let [hash] = hashes(stack, &format!("{}\n", created.token))
        .await
        .try_into()
        .unwrap();

    let as_anonymous = async |sql: String| as_role(database, "data_anon", "{}", &sql).await;
    let recipe = as_anonymous(format!("SELECT data.share_passcode_recipe({hash})"))
        .await
        .unwrap();
    let recipe: String = recipe[0].get(0);
    assert!(recipe.starts_with("$argon2id$v=19$m=19456,t=2,p=1$"), "{recipe}");
    let [same, passcode] = hashes(stack, &format!("{}\n1234\n{recipe}\n", created.token))
        .await
        .try_into()
        .unwrap();
    assert_eq!(same, hash);
    let (begin, _) = passcode.rsplit_once('$').unwrap();
    assert_eq!(begin, format!("'{recipe}"), "the same parameters and salt");
    let unknown = as_anonymous("SELECT data.share_passcode_recipe('\\x00')".into())
        .await
        .unwrap();
    assert_eq!(unknown[0].get::<Option<String>, _>(0), None);

    let validate = async |passcode: &str, device: &str| {
        let sql = format!("SELECT * FROM data.validate_share_token({hash}, {passcode}, '{device}', now())");
        as_anonymous(sql).await.unwrap()
    };
    assert!(validate("NULL", "mobile").await.is_empty());
    assert!(validate(&format!("'{recipe}$wrong'"), "mobile").await.is_empty());
    let opened = validate(&passcode, "desktop").await;
    assert_eq!(opened.len(), 1);
    assert_eq!(
        opened[0].get::<Vec<u8>, _>("encrypted_share_data"),
        request.encrypted_share_data
    );
    assert_eq!(opened[0].get::<uuid::Uuid, _>("user_id"), ada.person.id);
    // The function leaves no claims to the transaction, which still reaches no row.
    let sql = format!(
        "SELECT (SELECT count(*) FROM data.validate_share_token({hash}, NULL, 'mobile', now())),
             current_setting('request.jwt.claims')"
    );
    let after = as_anonymous(sql).await.unwrap();
    assert_eq!(after[0].get::<String, _>(1), "{}");
    for table in ["healthcare_share", "share_token", "healthcare_share_audit"] {
        let refused = as_anonymous(format!("SELECT FROM data.{table}"))
            .await
            .unwrap_err();
        assert!(refused.contains("permission denied"), "{refused}");
    }

    let share = ada.share(&created.id).await;
    assert_eq!(
        (
            share.access_count,
            share.wrong_passcode_count,
            share.refusal_count
        ),
        (1, 1, 3)
    );
    // The service and the function count openings of the same share.
    open(stack, &created.token, "1234").await.unwrap();
    open(stack, &created.token, "1234").await.unwrap_err();

    // A share without a passcode has no recipe, and needs none.
    let created = ada.create_share(ada.share_request(1)).await;
    let [hash] = hashes(stack, &created.token).await.try_into().unwrap();
    let recipe = as_anonymous(format!("SELECT data.share_passcode_recipe({hash})")).await;
    assert_eq!(recipe.unwrap()[0].get::<Option<String>, _>(0), None);
    let sql = format!("SELECT * FROM data.validate_share_token({hash}, NULL, 'mobile', now())");
    assert_eq!(as_anonymous(sql.clone()).await.unwrap().len(), 1);
    assert_eq!(as_anonymous(sql).await.unwrap().len(), 0);
}

#[tokio::test]
async fn the_command_documents_its_input_and_never_prints_it() {
    let key = "BwcHBwcHBwcHBwcHBwcHBwcHBwcHBwcHBwcHBwcHBwc=";
    let code_and_text = |output: &Output| {
        let text = [output.stdout.as_slice(), &output.stderr].concat();
        (output.status.code(), String::from_utf8(text).unwrap())
    };
    let (code, help) = code_and_text(&run("", &[], &["--help"]).await);
    assert_eq!(code, Some(0));
    for part in [
        "SECRET_KEY_FILE",
        "standard input",
        "data.share_passcode_recipe",
        "Exit codes",
    ] {
        assert!(help.contains(part), "{part}: {help}");
    }
    assert!(!help.contains("DATABASE_URL"), "{help}");
    let (code, text) = code_and_text(&run("", &[], &[]).await);
    assert_eq!(code, Some(64));
    assert!(text.contains("\n  SECRET_KEY: is missing"), "{text}");
    let (code, text) = code_and_text(&run("canary\n", &[("SECRET_KEY", key)], &[]).await);
    assert_eq!(code, Some(1));
    assert!(text.contains("the first line must be a token"), "{text}");
    assert!(!text.contains("canary") && !text.contains(key), "{text}");
    let (code, _) = code_and_text(&run("", &[("SECRET_KEY", key)], &["canary"]).await);
    assert_eq!(code, Some(64), "the command takes no arguments");
}

#[tokio::test]
async fn the_audit_shows_a_person_their_own_shares_and_a_reader_all() {
    let stack = Stack::start().await.unwrap();
    let (ada, bob) = (Sharer::invent(&stack).await, Sharer::invent(&stack).await);
    let (of_ada, of_bob) = (
        ada.create_share(ada.share_request(2)).await,
        bob.create_share(bob.share_request(2)).await,
    );
    for _ in 0..3 {
        open(&stack, &of_ada.token, "").await.ok();
    }
    open(&stack, &of_bob.token, "").await.unwrap();
    let database: &Database = &stack.database;
    let claims = format!(r#"{{"sub":"{}"}}"#, ada.person.id);
    let person = async |sql: String| as_role(database, "data_user", &claims, &sql).await;
    let outcomes = |rows: &[PgRow]| rows.iter().map(|row| row.get("outcome")).collect::<Vec<String>>();

    let rows = person("SELECT * FROM data.healthcare_access_audit()".into())
        .await
        .unwrap();
    assert_eq!(
        outcomes(&rows),
        ["used_up", "opened", "opened"],
        "the newest first"
    );
    let rows = person(format!(
        "SELECT * FROM data.healthcare_access_audit('{}')",
        of_bob.id
    ))
    .await;
    assert!(rows.unwrap().is_empty());
    // Pages of one row each.
    let mut seen = Vec::new();
    let mut cursor = "NULL, NULL".to_owned();
    for _ in 0..3 {
        let sql = format!(
            "SELECT *, accessed_at::text AS at FROM data.healthcare_access_audit('{}', {cursor}, 1)",
            of_ada.id
        );
        let rows = person(sql).await.unwrap();
        seen.extend(outcomes(&rows));
        cursor = format!(
            "'{}', '{}'",
            rows[0].get::<String, _>("at"),
            rows[0].get::<uuid::Uuid, _>("id")
        );
    }
    assert_eq!(seen, ["used_up", "opened", "opened"]);

    let reader = async |sql: &str| as_role(database, "haven_readonly", "{}", sql).await;
    let rows = reader("SELECT * FROM data.healthcare_access_audit()")
        .await
        .unwrap();
    assert_eq!(rows.len(), 4);
    let rows = reader("SELECT * FROM data.share_metadata").await.unwrap();
    assert_eq!(rows.len(), 2);
    for hidden in ["passcode_hash", "encrypted_payload"] {
        let refused = reader(&format!("SELECT {hidden} FROM data.healthcare_share"))
            .await
            .unwrap_err();
        assert!(refused.contains("permission denied"), "{refused}");
    }
    // Only an opening writes an audit row, and no role changes one.
    for sql in [
        "DELETE FROM data.healthcare_share_audit",
        "UPDATE data.healthcare_share_audit SET outcome = 'opened'",
        "INSERT INTO data.healthcare_share_audit (user_id, share_id, accessed_at, device_type, outcome)
         SELECT user_id, share_id, now(), 'mobile', 'opened' FROM data.healthcare_share_audit",
        "UPDATE data.healthcare_share SET access_count = 0",
        "SELECT token_hash FROM data.share_token",
        "SELECT passcode_hash FROM data.healthcare_share",
    ] {
        let refused = person(sql.into()).await.unwrap_err();
        assert!(refused.contains("permission denied"), "{refused}");
    }
}

#[tokio::test]
async fn an_expired_share_does_not_open_with_an_earlier_time() {
    let stack = Stack::shared().await.unwrap();
    let ada = Sharer::invent(stack).await;
    let created = ada.create_share(ada.share_request(2)).await;
    let database: &Database = &stack.database;
    let expired = format!(
        "UPDATE data.healthcare_share
         SET created_at = now() - interval '2 days', expires_at = now() - interval '5 minutes' WHERE id = '{}'",
        created.id
    );
    execute(database, &expired).await;
    let [hash] = hashes(stack, &created.token).await.try_into().unwrap();
    // The sweeper would delete a share that expired ten minutes ago.
    for at in ["now()", "now() - interval '36 hours'", "'-infinity'"] {
        let sql = format!("SELECT * FROM data.validate_share_token({hash}, NULL, 'mobile', {at})");
        let opened = as_role(database, "data_anon", "{}", &sql).await.unwrap();
        assert!(opened.is_empty(), "{at}");
    }
    let sql = format!(
        "SELECT bool_and(outcome = 'expired' AND accessed_at > now() - interval '2 minutes')
         FROM data.healthcare_access_audit('{}')",
        created.id
    );
    let audited = as_role(database, "haven_readonly", "{}", &sql).await.unwrap();
    assert!(audited[0].get::<bool, _>(0));
}
