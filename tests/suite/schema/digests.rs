//! Digests: only those that a server in FIPS mode has. MD5 is not among them: there, `md5()` fails when it is called.

use std::{collections::BTreeSet, fs};

use anyhow::{Context, Result};
use haven_proto::data::v1::RevokeDeviceRequest;
use haven_testkit::{Stack, random, secrets::SUPERUSER, workspace};
use sqlx::AssertSqlSafe;

use super::{
    empty,
    migrations::{unmigrated, up},
};
use crate::{
    cycle::feed::{BEGINNING, catch_up, create, restore::BEGIN_EPOCH},
    superuser_sql::{execute, scalar},
    test_device::Device,
};

/// The digests of FIPS 180-4 that Postgres has, and a hash that makes the number of an advisory lock and protects nothing.
const APPROVED: [&str; 5] = ["hashtextextended", "sha224", "sha256", "sha384", "sha512"];

/// The names of digests, and of functions that take the name of one. An extension could bring the latter.
const DIGESTS: &str = r"\m(md[0-9]+|sha[0-9]+|ripemd[0-9]*|blake[0-9a-z]*|whirlpool|hash[a-z_]*|hmac|digest|crypt|gen_salt|pgp_[a-z_]+)\s*\(";

/// Every expression and body of both schemas, with the object that has it.
const SOURCES: &str = "
    WITH schemas AS (SELECT oid FROM pg_namespace WHERE nspname IN ('identity', 'data', 'auth')),
    relations AS (SELECT c.oid, c.relkind FROM pg_class c WHERE c.relnamespace IN (SELECT oid FROM schemas))
    SELECT p.oid::regprocedure::text AS object, pg_get_functiondef(p.oid) AS source
      FROM pg_proc p WHERE p.pronamespace IN (SELECT oid FROM schemas) AND p.prokind IN ('f', 'p')
    UNION ALL
    SELECT 'policy ' || polname || ' on ' || polrelid::regclass,
           concat_ws(' ', pg_get_expr(polqual, polrelid), pg_get_expr(polwithcheck, polrelid))
      FROM pg_policy WHERE polrelid IN (SELECT oid FROM relations)
    UNION ALL
    SELECT 'default of ' || adrelid::regclass || '.' || attname, pg_get_expr(adbin, adrelid)
      FROM pg_attrdef JOIN pg_attribute ON attrelid = adrelid AND attnum = adnum WHERE adrelid IN (SELECT oid FROM relations)
    UNION ALL
    SELECT 'index ' || indexrelid::regclass, pg_get_indexdef(indexrelid) FROM pg_index WHERE indrelid IN (SELECT oid FROM relations)
    UNION ALL
    SELECT 'constraint ' || conname || ' on ' || conrelid::regclass, pg_get_constraintdef(oid)
      FROM pg_constraint WHERE conrelid IN (SELECT oid FROM relations)
    UNION ALL
    SELECT 'trigger ' || tgname || ' on ' || tgrelid::regclass, pg_get_triggerdef(oid)
      FROM pg_trigger WHERE tgrelid IN (SELECT oid FROM relations) AND NOT tgisinternal
    UNION ALL
    SELECT 'view ' || oid::regclass, pg_get_viewdef(oid) FROM relations WHERE relkind IN ('v', 'm')";

/// Replaces MD5 in a database by what a server in FIPS mode does.
const WITHOUT_MD5: &str = "
    CREATE OR REPLACE FUNCTION pg_catalog.md5(text) RETURNS text LANGUAGE plpgsql IMMUTABLE STRICT PARALLEL SAFE AS
        $$ BEGIN RAISE internal_error USING MESSAGE = 'could not compute MD5 hash: unsupported'; END $$;
    CREATE OR REPLACE FUNCTION pg_catalog.md5(bytea) RETURNS text LANGUAGE plpgsql IMMUTABLE STRICT PARALLEL SAFE AS
        $$ BEGIN RAISE internal_error USING MESSAGE = 'could not compute MD5 hash: unsupported'; END $$";

/// Files that name MD5, each with its reason.
const NAMED: [(&str, &str); 7] = [
    (
        "migrations/data/20261122001100_devices.up.sql",
        "landed; the function is replaced later",
    ),
    (
        "services/identity/src/hashing/import_format",
        "names the hashes of other software that are refused",
    ),
    (
        "migrations/data/20261129000700_sync.up.sql",
        "says why the function is replaced",
    ),
    (
        "migrations/data/20261129000700_sync.down.sql",
        "puts the function from before back",
    ),
    (
        "services/platform/src/database/checks/authentication.rs",
        "finds passwords and rules with MD5",
    ),
    (
        "services/platform/src/database/checks/roles.rs",
        "finds passwords with MD5",
    ),
    (
        "tests/suite/postgres/checks/breakages",
        "breaks a server in the ways that the checks find",
    ),
];

#[tokio::test]
async fn both_schemas_call_only_approved_digests() -> Result<()> {
    let database = empty().await?;
    let mut superuser = database.connect(SUPERUSER).await?;
    let calls = format!(
        "SELECT object, lower(call[1]) FROM ({SOURCES}) AS sources, regexp_matches(source, '{DIGESTS}', 'gi') AS call"
    );
    let calls: Vec<(String, String)> = sqlx::query_as(AssertSqlSafe(calls))
        .fetch_all(&mut superuser)
        .await?;
    let refused: Vec<_> = calls
        .iter()
        .filter(|(_, digest)| !APPROVED.contains(&digest.as_str()))
        .collect();
    assert!(refused.is_empty(), "a server in FIPS mode has no {refused:#?}");
    // The search finds what there is: bodies, and an expression in each kind of object that has one.
    assert!(
        calls
            .iter()
            .any(|(object, digest)| object.contains("cycle_change_digest") && digest == "sha256")
    );
    for kind in ["policy", "default", "index", "constraint", "trigger", "view"] {
        let count = AssertSqlSafe(format!(
            "SELECT count(*) FROM ({SOURCES}) AS s WHERE object LIKE '{kind} %' AND source <> ''"
        ));
        let count: i64 = sqlx::query_scalar(count).fetch_one(&mut superuser).await?;
        assert!(count > 0, "no {kind}");
    }
    Ok(())
}

#[tokio::test]
async fn the_search_finds_a_digest_in_every_kind_of_object() -> Result<()> {
    let database = empty().await?;
    let mut superuser = database.connect(SUPERUSER).await?;
    let planted = "
        CREATE FUNCTION data.planted(t text) RETURNS text LANGUAGE sql IMMUTABLE RETURN MD5 (t);
        CREATE FUNCTION data.planted_body() RETURNS trigger LANGUAGE plpgsql AS 'BEGIN PERFORM md5(''x''); RETURN NEW; END';
        CREATE TABLE data.planted (
            a text DEFAULT md5('default'), b text GENERATED ALWAYS AS (md5('generated')) STORED, CHECK (md5(a) <> ''));
        CREATE INDEX planted_index ON data.planted (md5(a));
        CREATE POLICY planted_policy ON data.planted USING (md5(a) <> '');
        CREATE VIEW data.planted_view AS SELECT md5(a) FROM data.planted;
        CREATE TRIGGER planted_trigger BEFORE INSERT ON data.planted FOR EACH ROW WHEN (md5(NEW.a) <> '')
            EXECUTE FUNCTION data.planted_body()";
    sqlx::raw_sql(planted).execute(&mut superuser).await?;
    let found = format!(
        "SELECT DISTINCT object FROM ({SOURCES}) AS sources, regexp_matches(source, '{DIGESTS}', 'gi') AS call
          WHERE lower(call[1]) = 'md5' ORDER BY 1"
    );
    let found: Vec<String> = sqlx::query_scalar(AssertSqlSafe(found))
        .fetch_all(&mut superuser)
        .await?;
    let expected = [
        "constraint planted_a_check on data.planted",
        "data.planted(text)",
        "data.planted_body()",
        "default of data.planted.a",
        "default of data.planted.b",
        "index data.planted_index",
        "policy planted_policy on data.planted",
        "trigger planted_trigger on data.planted",
        "view data.planted_view",
    ];
    let expected: BTreeSet<_> = expected.into_iter().map(str::to_owned).collect();
    assert_eq!(found.into_iter().collect::<BTreeSet<_>>(), expected);
    Ok(())
}

/// The calls that ask for the epoch, which was computed with MD5 once.
#[tokio::test]
async fn devices_synchronize_on_a_server_without_md5() {
    let stack = Stack::start().await.unwrap();
    execute(&stack.database, WITHOUT_MD5).await;
    let refused: bool = scalar(
        &stack.database,
        "SELECT prosrc LIKE '%could not compute MD5%' FROM pg_proc WHERE oid = 'md5(text)'::regprocedure",
    )
    .await;
    assert!(refused, "the server has MD5");
    let phone = Device::invent(&stack).await.unwrap();
    let laptop = phone.another().await.unwrap();
    create(&phone, "a").await;
    catch_up(&laptop, BEGINNING).await;
    execute(&stack.database, BEGIN_EPOCH).await;
    catch_up(&phone, BEGINNING).await;
    create(&phone, "b").await;
    let request = RevokeDeviceRequest {
        device_id: laptop.id.to_string(),
        request_id: random::uuid().to_string(),
    };
    phone.client.device().revoke_device(request).await.unwrap();
}

#[tokio::test]
async fn a_server_without_md5_can_be_migrated() -> Result<()> {
    let template = empty().await?;
    let database = unmigrated(&template).await?;
    database.run(SUPERUSER, WITHOUT_MD5).await?;
    for schema in ["identity", "data"] {
        up(&database, schema, i64::MAX).await?;
    }
    template.drop_database(&database.name).await
}

#[test]
fn no_other_file_names_md5() -> Result<()> {
    let mut naming = BTreeSet::new();
    for folder in ["proto", "services", "migrations", "deploy", "tests", ".ci"] {
        for file in workspace::files(&workspace::root().join(folder))? {
            // Text only; and this file names it throughout.
            let Ok(text) = fs::read_to_string(&file) else {
                continue;
            };
            let name = file
                .strip_prefix(workspace::root())
                .context("a file of the workspace")?;
            let name = name.to_string_lossy().into_owned();
            let prose = name.ends_with(".md");
            if !prose && name != "tests/suite/schema/digests.rs" && text.to_lowercase().contains("md5") {
                naming.insert(name);
            }
        }
    }
    let unlisted: Vec<_> = naming
        .iter()
        .filter(|name| !NAMED.iter().any(|(listed, _)| name.starts_with(listed)))
        .collect();
    assert!(
        unlisted.is_empty(),
        "a server in FIPS mode has no MD5: {unlisted:?}"
    );
    for (listed, reason) in NAMED {
        assert!(
            naming.iter().any(|name| name.starts_with(listed)),
            "{listed} ({reason}) does not name it any more"
        );
    }
    Ok(())
}
