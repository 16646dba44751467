//! The audit log is append-only for every role of the services.

use haven_testkit::{Stack, secrets::LOGINS, secrets::SUPERUSER};
use sqlx::AssertSqlSafe;

use super::person_with_events;

/// Group roles of the services. The owners, which run the migrations, are not among them.
const GROUPS: [&str; 6] = [
    "identity_anon",
    "identity_user",
    "identity_service",
    "data_anon",
    "data_user",
    "data_service",
];

#[tokio::test]
async fn no_role_but_the_owner_may_write_the_tables_of_the_log() {
    let stack = Stack::shared().await.unwrap();
    let mut superuser = stack.database.connect(SUPERUSER).await.unwrap();
    // The owners run the migrations and own the tables. Row Level Security is forced on them as well, and lets only their
    // functions append and trim.
    let owners = ["identity_owner", "data_owner"];
    let roles: Vec<_> = LOGINS
        .iter()
        .chain(&GROUPS)
        .filter(|role| !owners.contains(role))
        .map(|role| (*role).to_owned())
        .collect();
    let allowed: Vec<(String, String, String)> = sqlx::query_as(
        "SELECT role, relation, privilege
         FROM unnest($1::text[]) AS role,
             unnest(ARRAY['identity.security_audit_log', 'identity.audit_chains']) AS relation,
             unnest(ARRAY['INSERT', 'UPDATE', 'DELETE', 'TRUNCATE', 'TRIGGER', 'REFERENCES']) AS privilege
         WHERE has_table_privilege(role, relation, privilege)
             OR privilege IN ('INSERT', 'UPDATE', 'REFERENCES')
                 AND has_any_column_privilege(role, relation, privilege)",
    )
    .bind(roles)
    .fetch_all(&mut superuser)
    .await
    .unwrap();
    assert!(allowed.is_empty(), "{allowed:?}");
}

#[tokio::test]
async fn writing_to_the_log_past_its_functions_is_refused() {
    let stack = Stack::shared().await.unwrap();
    let person = person_with_events(stack).await;
    for (login, role) in [
        ("identity_app", "identity_anon"),
        ("identity_app", "identity_user"),
        ("identity_worker", "identity_service"),
    ] {
        let mut connection = stack.database.connect(login).await.unwrap();
        let claims = format!(r#"{{"sub":"{}"}}"#, person.id);
        for statement in [
            "UPDATE identity.security_audit_log SET refused = NOT refused",
            "DELETE FROM identity.security_audit_log",
            "TRUNCATE identity.security_audit_log CASCADE",
            "INSERT INTO identity.security_audit_log SELECT * FROM identity.security_audit_log",
            "UPDATE identity.audit_chains SET last_number = 0",
            "DELETE FROM identity.audit_chains",
        ] {
            // The setting that allows trimming has an effect in the owner's function only.
            let sql = format!(
                "BEGIN; SELECT set_config('request.jwt.claims', '{claims}', true),
                     set_config('identity.trimming', 'on', true); SET LOCAL ROLE {role}; {statement}"
            );
            let error = sqlx::raw_sql(AssertSqlSafe(sql))
                .execute(&mut connection)
                .await
                .unwrap_err();
            let code = error.as_database_error().and_then(|error| error.code());
            assert_eq!(code.as_deref(), Some("42501"), "{role}: {statement}: {error}");
            sqlx::raw_sql("ROLLBACK").execute(&mut connection).await.unwrap();
        }
    }
}
