-- oldest_binary: 20261129000400
SET LOCAL row_security = off;

-- In a transaction of its own: it reads whole tables, and changes of rows go on meanwhile.
ALTER TABLE identity.users VALIDATE CONSTRAINT users_rules;
ALTER TABLE identity.sessions VALIDATE CONSTRAINT sessions_rules;
ALTER TABLE identity.security_audit_log VALIDATE CONSTRAINT security_audit_log_rules;
ALTER TABLE identity.recovery_tokens VALIDATE CONSTRAINT recovery_tokens_rules;
ALTER TABLE identity.erasures VALIDATE CONSTRAINT erasures_rules;

SET LOCAL row_security = on;
