//! Example calls of the running installation, to be pasted into a terminal.

use haven_testkit::{database::Database, environment::Environment, random};

/// Returns the addresses of all listeners, and example calls that work as they are.
pub(crate) fn examples(environment: &Environment<'_>, database: &Database) -> String {
    let (identity, data) = (environment.identity, environment.data);
    let authority = environment.certificates.authority().display().to_string();
    let backend = environment.certificates.leaf("backend");
    // A new user and new request ids on each start, so that no example is a retry of an earlier one.
    let email = format!("ada-{:x}@example.org", rand::random::<u32>());
    let password = format!("Haven-{:x}", rand::random::<u64>());
    let id = random::uuid;

    let sign_up = format!(
        r#"{{"email":"{email}","password":"{password}","goals":["GOAL_MAKE_FRIENDS"],"consents":[{{"document":"terms","document_version":"2026-01"}},{{"document":"privacy","document_version":"2026-01"}}],"request_id":"{}"}}"#,
        id()
    );
    let sign_in = format!(
        r#"{{"email":"{email}","password":"{password}","request_id":"{}"}}"#,
        id()
    );
    let append = format!(
        r#"{{"sender_type":"SENDER_TYPE_USER","text":"Good morning!","request_id":"{}"}}"#,
        id()
    );
    let token = r#"| sed -n 's/.*"accessToken": *"\([^"]*\)".*/\1/p'"#;
    let grpcurl = |api: u16, options: &str, body: &str, method: &str| {
        format!("grpcurl -cacert {authority} {options}-d '{body}' localhost:{api} {method}")
    };
    let buf = |api: u16, options: &str, body: &str, method: &str| {
        format!(
            "buf curl --cacert {authority} --protocol grpc {options}-d '{body}' https://localhost:{api}/{method}"
        )
    };
    let bearer = r#"-H "authorization: Bearer $TOKEN" "#;
    let bearer_buf = r#"--header "authorization: Bearer $TOKEN" "#;
    let (account, session) = (
        "haven.identity.v1.AccountService",
        "haven.identity.v1.SessionService",
    );
    let conversation = "haven.data.v1.ConversationService";
    let health = format!(r#"{{"service":"{conversation}"}}"#);

    let calls = |call: &dyn Fn(u16, &str, &str, &str) -> String, bearer: &str, reflection: String| {
        [
            (
                "Sign up",
                call(identity.api, "", &sign_up, &format!("{account}/SignUp")),
            ),
            (
                "Sign in, and store the token in TOKEN",
                format!(
                    "TOKEN=$({} {token})",
                    call(identity.api, "", &sign_in, &format!("{session}/SignIn"))
                ),
            ),
            (
                "Append a message",
                call(
                    data.api,
                    bearer,
                    &append,
                    &format!("{conversation}/AppendMessage"),
                ),
            ),
            (
                "List the messages",
                call(data.api, bearer, "{}", &format!("{conversation}/ListMessages")),
            ),
            (
                "Health",
                call(data.api, "", &health, "grpc.health.v1.Health/Check"),
            ),
            ("Reflection", reflection),
        ]
        .map(|(title, line)| format!("  # {title}\n  {line}\n"))
        .concat()
    };
    let with_grpcurl = calls(
        &grpcurl,
        bearer,
        format!("grpcurl -cacert {authority} localhost:{} list", identity.api),
    );
    let with_buf = calls(
        &buf,
        bearer_buf,
        format!(
            "buf curl --cacert {authority} --protocol grpc --list-methods https://localhost:{}",
            identity.api
        ),
    );
    let without_tools = own_calls();
    format!(
        "
  identity   https://localhost:{}   health http://127.0.0.1:{}   metrics http://127.0.0.1:{}/metrics
  data       https://localhost:{}   health http://127.0.0.1:{}   metrics http://127.0.0.1:{}/metrics
  Postgres   127.0.0.1:{}, database {}: `cargo dev psql`

  Without any other tool (`cargo dev tour` shows more):

{without_tools}
  With grpcurl:

{with_grpcurl}
  With buf curl:

{with_buf}
  To call as the service `backend`, add to grpcurl: -cert {} -key {}
  A retry with the same request_id returns the first response. Test users: `cargo dev seed`. Stop with Ctrl-C.
",
        identity.api,
        identity.health,
        identity.metrics,
        data.api,
        data.health,
        data.metrics,
        database.port,
        database.name,
        backend.certificate.display(),
        backend.key.display(),
    )
}

/// Returns example calls of `cargo dev call`, for a new user.
fn own_calls() -> String {
    let email = format!("bela-{:x}@example.org", rand::random::<u32>());
    let password = format!("Haven-{:x}", rand::random::<u64>());
    let sign_up = format!(
        r#"{{"email":"{email}","password":"{password}","goals":["GOAL_MAKE_FRIENDS"],"consents":[{{"document":"terms","document_version":"2026-01"}},{{"document":"privacy","document_version":"2026-01"}}]}}"#
    );
    [
        ("Sign up", format!("cargo dev call SignUp '{sign_up}'")),
        (
            "Append a message. --as signs in and keeps the session",
            format!(
                r#"cargo dev call AppendMessage --as {email} '{{"sender_type":"SENDER_TYPE_USER","text":"Good morning!"}}'"#
            ),
        ),
        ("List the messages", format!("cargo dev call ListMessages --as {email}")),
        (
            "Call as a service",
            "cargo dev call ListAccounts --service backend".to_owned(),
        ),
        (
            "Health",
            r#"cargo dev call Health/Check '{"service":"haven.data.v1.ConversationService"}'"#.to_owned(),
        ),
        ("All RPCs, and one of them with its fields", "cargo dev call --list".to_owned()),
        ("", "cargo dev call --describe SignUp".to_owned()),
    ]
    .map(|(title, line)| match title {
        "" => format!("  {line}\n"),
        _ => format!("  # {title}\n  {line}\n"),
    })
    .concat()
}
