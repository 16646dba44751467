//! Breakages of Row Level Security.

use super::super::breakage::Breakage;

pub(in super::super) const ROW_SECURITY: &[Breakage] = &[
    Breakage::sql(
        "row-security-forced",
        "table data.conversations: Row Level Security is enabled, but not forced",
        &["ALTER TABLE data.conversations NO FORCE ROW LEVEL SECURITY"],
        &["ALTER TABLE data.conversations FORCE ROW LEVEL SECURITY"],
    ),
    Breakage::sql(
        "row-security-forced",
        "table data.users: Row Level Security is not enabled",
        &["ALTER TABLE data.users DISABLE ROW LEVEL SECURITY"],
        &["ALTER TABLE data.users ENABLE ROW LEVEL SECURITY"],
    ),
    Breakage::sql(
        "policies-present",
        "table data._sqlx_migrations: no policy for SELECT by data_user",
        &["GRANT SELECT ON data._sqlx_migrations TO data_user"],
        &["REVOKE SELECT ON data._sqlx_migrations FROM data_user"],
    ),
    Breakage::sql(
        "policies-name-roles",
        "policy stray on data.conversations: applies to PUBLIC",
        &["CREATE POLICY stray ON data.conversations FOR SELECT USING (false)"],
        &["DROP POLICY stray ON data.conversations"],
    ),
    Breakage::sql(
        "policies-by-person",
        "policy stray on data.conversations: USING is always true",
        &["CREATE POLICY stray ON data.conversations FOR SELECT TO data_user USING (true)"],
        &["DROP POLICY stray ON data.conversations"],
    ),
    Breakage::sql(
        "views-security-invoker",
        "view data.user_metadata",
        &["ALTER VIEW data.user_metadata RESET (security_invoker)"],
        &["ALTER VIEW data.user_metadata SET (security_invoker = true)"],
    ),
    Breakage::sql(
        "relations-with-policies",
        "materialized view data.stray",
        &[
            "CREATE MATERIALIZED VIEW data.stray AS SELECT 1 AS one",
            "ALTER MATERIALIZED VIEW data.stray OWNER TO data_owner",
        ],
        &["DROP MATERIALIZED VIEW data.stray"],
    ),
    Breakage::sql(
        "row-security-setting",
        "row_security is off (role haven_readonly)",
        &["ALTER ROLE haven_readonly SET row_security = off"],
        &["ALTER ROLE haven_readonly RESET row_security"],
    ),
    Breakage::sql(
        "hash-columns",
        "role data_user selects data.device_key.device_id_hash",
        &["GRANT SELECT (device_id_hash) ON data.device_key TO data_user"],
        &["REVOKE SELECT (device_id_hash) ON data.device_key FROM data_user"],
    ),
    Breakage::sql(
        "leakproof-functions",
        "function public.stray()",
        &["CREATE FUNCTION public.stray() RETURNS int LANGUAGE sql LEAKPROOF RETURN 1"],
        &["DROP FUNCTION public.stray()"],
    ),
    Breakage::sql(
        "triggers-enabled",
        "on data.share_token",
        &["ALTER TABLE data.share_token DISABLE TRIGGER ALL"],
        &["ALTER TABLE data.share_token ENABLE TRIGGER ALL"],
    ),
    Breakage::sql(
        "rewrite-rules",
        "rule stray on data.conversations",
        &["CREATE RULE stray AS ON INSERT TO data.conversations DO ALSO NOTHING"],
        &["DROP RULE stray ON data.conversations"],
    ),
    Breakage::sql(
        "constraints-validated",
        "constraint stray on data.conversations: not validated",
        &["ALTER TABLE data.conversations ADD CONSTRAINT stray CHECK (true) NOT VALID"],
        &["ALTER TABLE data.conversations DROP CONSTRAINT stray"],
    ),
    Breakage::sql(
        "constraints-validated",
        "index data.share_token_token_hash_key: not valid",
        &[
            "UPDATE pg_index SET indisvalid = false WHERE indexrelid = 'data.share_token_token_hash_key'::regclass",
        ],
        &[
            "UPDATE pg_index SET indisvalid = true WHERE indexrelid = 'data.share_token_token_hash_key'::regclass",
        ],
    ),
];
