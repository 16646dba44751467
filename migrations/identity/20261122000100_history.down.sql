SET LOCAL row_security = off;

DROP FUNCTION identity.schema_version();

-- The table is sqlx's, and stays: plain again, as sqlx made it.
DROP POLICY history_owner_select ON identity._sqlx_migrations;
DROP POLICY history_owner_insert ON identity._sqlx_migrations;
DROP POLICY history_owner_update ON identity._sqlx_migrations;
DROP POLICY history_owner_delete ON identity._sqlx_migrations;
ALTER TABLE identity._sqlx_migrations NO FORCE ROW LEVEL SECURITY, DISABLE ROW LEVEL SECURITY;

REVOKE USAGE ON SCHEMA identity
    FROM identity_anon, identity_user, identity_service, identity_app, identity_worker, haven_readonly;

ALTER DEFAULT PRIVILEGES GRANT USAGE ON TYPES TO PUBLIC;
ALTER DEFAULT PRIVILEGES GRANT EXECUTE ON ROUTINES TO PUBLIC;

SET LOCAL row_security = on;
