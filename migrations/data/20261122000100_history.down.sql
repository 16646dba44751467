SET LOCAL row_security = off;

DROP FUNCTION data.schema_version();

-- The table is sqlx's, and stays: plain again, as sqlx made it.
DROP POLICY history_owner_select ON data._sqlx_migrations;
DROP POLICY history_owner_insert ON data._sqlx_migrations;
DROP POLICY history_owner_update ON data._sqlx_migrations;
DROP POLICY history_owner_delete ON data._sqlx_migrations;
ALTER TABLE data._sqlx_migrations NO FORCE ROW LEVEL SECURITY, DISABLE ROW LEVEL SECURITY;

REVOKE USAGE ON SCHEMA data
    FROM data_user, data_service, data_app, data_worker, haven_readonly;

ALTER DEFAULT PRIVILEGES GRANT USAGE ON TYPES TO PUBLIC;
ALTER DEFAULT PRIVILEGES GRANT EXECUTE ON ROUTINES TO PUBLIC;

SET LOCAL row_security = on;
