-- oldest_binary: 20261129000400
SET LOCAL row_security = off;

-- In a transaction of its own: it reads whole tables, and changes of rows go on meanwhile.
ALTER TABLE identity.users VALIDATE CONSTRAINT users_password_hash_check;
ALTER TABLE identity.security_audit_log VALIDATE CONSTRAINT security_audit_log_event_check;

SET LOCAL row_security = on;
