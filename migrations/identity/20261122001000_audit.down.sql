SET LOCAL row_security = off;

DROP FUNCTION identity.trim_audit_log(interval, integer);
DROP FUNCTION identity.note_failed_sign_in(bytea, text, bytea, timestamptz);
DROP FUNCTION identity.append_audit_event(text, boolean, text, uuid, bytea, timestamptz);
DROP FUNCTION identity.audit_digest(bytea, uuid, bigint, text, boolean, text, uuid, bytea, timestamptz);
DROP POLICY users_own_update ON identity.users;
DROP TABLE identity.audit_chains;
DROP TABLE identity.security_audit_log;

SET LOCAL row_security = on;
