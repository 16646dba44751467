//! The cluster's scripts: run by an admin without superuser rights, and repeatable.

use std::fs;

use anyhow::Result;
use haven_testkit::{
    database::Database,
    secrets::{ADMIN, SUPERUSER},
    workspace,
};
use sqlx::AssertSqlSafe;

use super::empty;

/// Selects everything that the scripts create or change, as text.
const STATE: &str = "
    SELECT 'role ' || r::text FROM (SELECT rolname, rolsuper, rolinherit, rolcreaterole, rolcreatedb, rolcanlogin,
            rolreplication, rolbypassrls, rolconnlimit, rolvaliduntil, rolpassword FROM pg_authid) AS r
    UNION ALL SELECT 'member ' || m::text FROM pg_auth_members m
    UNION ALL SELECT 'setting ' || s::text FROM pg_db_role_setting s
    UNION ALL SELECT 'database ' || d::text FROM (SELECT datname, datdba::regrole, datacl FROM pg_database
               WHERE datname = current_database()) AS d
    UNION ALL SELECT 'schema ' || n::text FROM (SELECT nspname, nspowner::regrole, nspacl FROM pg_namespace
               WHERE nspname !~ '^pg_(toast|temp)') AS n
    UNION ALL SELECT 'function ' || f::text FROM (SELECT proname, proowner::regrole, proacl, prosecdef, provolatile,
               pg_get_functiondef(oid) FROM pg_proc WHERE pronamespace = 'auth'::regnamespace) AS f
    ORDER BY 1";

#[tokio::test]
async fn an_admin_without_superuser_rights_can_run_the_scripts() -> Result<()> {
    let database = empty().await?;
    let mut superuser = database.connect(SUPERUSER).await?;
    let plain = "SELECT rolcreaterole AND rolcreatedb AND NOT (rolsuper OR rolbypassrls OR rolreplication)
                   FROM pg_roles WHERE rolname = $1";
    let plain: bool = sqlx::query_scalar(plain)
        .bind(ADMIN)
        .fetch_one(&mut superuser)
        .await?;
    assert!(plain, "{ADMIN} has CREATEROLE and CREATEDB, and no other power");
    let owner = "SELECT datdba::regrole::text FROM pg_database WHERE datname = current_database()";
    let owner: String = sqlx::query_scalar(owner).fetch_one(&mut superuser).await?;
    assert_eq!(owner, ADMIN, "the database's owner");
    // The memberships that the admin needed to hand the schemas over are gone.
    let standing = "SELECT rolname::text FROM pg_roles WHERE rolname ~ '^(identity|data)_'
                       AND pg_has_role($1, oid, 'USAGE')";
    let standing: Vec<String> = sqlx::query_scalar(standing)
        .bind(ADMIN)
        .fetch_all(&mut superuser)
        .await?;
    assert!(standing.is_empty(), "{ADMIN} has the privileges of {standing:?}");
    Ok(())
}

#[tokio::test]
async fn running_the_scripts_again_changes_nothing() -> Result<()> {
    let database = empty().await?;
    let before = state(&database).await?;
    for script in scripts()? {
        database.run(ADMIN, &script).await?;
    }
    assert_eq!(state(&database).await?, before);
    Ok(())
}

/// A script that repaired such roles would hide that they were changed; a script that ignored them would build on them.
#[tokio::test]
async fn the_scripts_refuse_roles_with_more_rights() -> Result<()> {
    let database = empty().await?;
    let roles = &scripts()?[0];
    for (change, refusal) in [
        (
            "ALTER ROLE identity_app BYPASSRLS",
            "role identity_app exists with other attributes",
        ),
        (
            "ALTER ROLE data_worker INHERIT",
            "role data_worker exists with other attributes",
        ),
        (
            "ALTER ROLE data_user LOGIN",
            "role data_user exists with other attributes",
        ),
        (
            "GRANT identity_service TO identity_app",
            "role identity_app is a member of identity_service",
        ),
        (
            "GRANT pg_read_all_data TO haven_readonly",
            "role haven_readonly is a member of pg_read_all_data",
        ),
    ] {
        // Roles belong to the whole cluster, and other tests use them, so the change is not committed.
        let attempt = database
            .run(SUPERUSER, &format!("BEGIN; {change}; {roles}"))
            .await;
        let message = format!("{:#}", attempt.expect_err(change));
        assert!(message.contains(refusal), "{change}: {message}");
    }
    Ok(())
}

/// Until 2026-11 the scripts gave REPLICATION to the login for backups.
#[tokio::test]
async fn the_scripts_take_replication_from_the_login_for_backups() -> Result<()> {
    let database = empty().await?;
    let old = "ALTER ROLE haven_backup REPLICATION NOINHERIT; REVOKE pg_read_all_settings FROM haven_backup";
    let wanted = "DO $$ BEGIN ASSERT (SELECT rolinherit AND NOT rolreplication
                                              AND pg_has_role('haven_backup', 'pg_read_all_settings', 'USAGE')
                                       FROM pg_roles WHERE rolname = 'haven_backup'); END $$";
    let roles = &scripts()?[0];
    // Roles belong to the whole cluster, and other tests use them, so the change is not committed.
    let attempt = format!("BEGIN; {old}; {roles}; {wanted}");
    database.run(SUPERUSER, &attempt).await
}

/// Any login may change its own settings, which apply to its later sessions.
#[tokio::test]
async fn the_scripts_reset_what_a_login_has_set_for_itself() -> Result<()> {
    let database = empty().await?;
    let changes = "
        SET LOCAL SESSION AUTHORIZATION data_app;
        ALTER ROLE CURRENT_USER SET default_transaction_read_only = on;
        ALTER ROLE CURRENT_USER SET request.jwt.claims = 'x';
    ";
    // A login cannot give itself a setting that it makes up, such as claims.
    let refused = database.run(SUPERUSER, &format!("BEGIN; {changes}")).await;
    let message = format!("{:#}", refused.expect_err("claims"));
    assert!(message.contains("permission denied"), "{message}");
    let damage = format!(
        "SET LOCAL SESSION AUTHORIZATION data_app;
         ALTER ROLE CURRENT_USER SET default_transaction_read_only = on;
         ALTER ROLE CURRENT_USER SET search_path = 'public';
         ALTER ROLE CURRENT_USER SET lock_timeout = 1;
         ALTER ROLE CURRENT_USER IN DATABASE \"{}\" SET search_path = 'public';
         ALTER ROLE CURRENT_USER IN DATABASE \"{}\" SET enable_indexscan = off;
         SET LOCAL SESSION AUTHORIZATION haven_backup;
         ALTER ROLE CURRENT_USER RESET ALL;
         ALTER ROLE CURRENT_USER SET search_path = 'public';
         SET LOCAL SESSION AUTHORIZATION haven_readonly;
         ALTER ROLE CURRENT_USER RESET ALL;
         RESET SESSION AUTHORIZATION;",
        database.name, database.name
    );
    let roles = &scripts()?[0];
    // Roles belong to the whole cluster, and other tests use them, so the change is not committed. The order of a role's
    // settings may change.
    let sorted = "SELECT string_agg(concat_ws(' ', setrole::regrole, setdatabase, entry), '; '
                                    ORDER BY setrole::regrole::text, setdatabase, entry)
                    FROM pg_db_role_setting, unnest(setconfig) AS entry";
    let attempt = format!(
        "BEGIN; CREATE TEMPORARY TABLE before AS SELECT ({sorted}) AS settings; {damage} {roles};
         DO $$ BEGIN ASSERT (SELECT settings FROM before) = ({sorted}), ({sorted}); END $$"
    );
    database.run(SUPERUSER, &attempt).await
}

/// Returns the texts of the scripts, in their order.
fn scripts() -> Result<Vec<String>> {
    let files = workspace::files(&workspace::migrations().join("cluster"))?;
    files.iter().map(|file| Ok(fs::read_to_string(file)?)).collect()
}

/// Returns the rows of the query [`STATE`].
async fn state(database: &Database) -> Result<Vec<String>> {
    let mut superuser = database.connect(SUPERUSER).await?;
    Ok(sqlx::query_scalar(AssertSqlSafe(STATE))
        .fetch_all(&mut superuser)
        .await?)
}
