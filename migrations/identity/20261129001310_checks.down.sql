SET LOCAL row_security = off;

-- Changes of rows go on while the tables are read.
ALTER TABLE identity.users VALIDATE CONSTRAINT users_credential_check;
ALTER TABLE identity.users VALIDATE CONSTRAINT users_email_canonical_check;
ALTER TABLE identity.users VALIDATE CONSTRAINT users_email_check;
ALTER TABLE identity.users VALIDATE CONSTRAINT users_erased_at_check;
ALTER TABLE identity.users VALIDATE CONSTRAINT users_goals_check;
ALTER TABLE identity.users VALIDATE CONSTRAINT users_graduated_at_check;
ALTER TABLE identity.users VALIDATE CONSTRAINT users_password_hash_check;
ALTER TABLE identity.users VALIDATE CONSTRAINT users_password_version_check;
ALTER TABLE identity.users VALIDATE CONSTRAINT users_stage_check;
ALTER TABLE identity.users VALIDATE CONSTRAINT users_version_check;
ALTER TABLE identity.sessions VALIDATE CONSTRAINT sessions_end_reason_check;
ALTER TABLE identity.sessions VALIDATE CONSTRAINT sessions_ended_at_check;
ALTER TABLE identity.sessions VALIDATE CONSTRAINT sessions_expires_at_check;
ALTER TABLE identity.sessions VALIDATE CONSTRAINT sessions_refresh_expires_at_check;
ALTER TABLE identity.sessions VALIDATE CONSTRAINT sessions_refreshed_at_check;
ALTER TABLE identity.security_audit_log VALIDATE CONSTRAINT security_audit_log_digest_check;
ALTER TABLE identity.security_audit_log VALIDATE CONSTRAINT security_audit_log_event_check;
ALTER TABLE identity.security_audit_log VALIDATE CONSTRAINT security_audit_log_network_mac_check;
ALTER TABLE identity.security_audit_log VALIDATE CONSTRAINT security_audit_log_number_check;
ALTER TABLE identity.security_audit_log VALIDATE CONSTRAINT security_audit_log_service_check;
ALTER TABLE identity.recovery_tokens VALIDATE CONSTRAINT recovery_tokens_address_check;
ALTER TABLE identity.recovery_tokens VALIDATE CONSTRAINT recovery_tokens_change_id_check;
ALTER TABLE identity.recovery_tokens VALIDATE CONSTRAINT recovery_tokens_email_canonical_check;
ALTER TABLE identity.recovery_tokens VALIDATE CONSTRAINT recovery_tokens_email_check;
ALTER TABLE identity.recovery_tokens VALIDATE CONSTRAINT recovery_tokens_expires_at_check;
ALTER TABLE identity.recovery_tokens VALIDATE CONSTRAINT recovery_tokens_kind_check;
ALTER TABLE identity.recovery_tokens VALIDATE CONSTRAINT recovery_tokens_opened_at_check;
ALTER TABLE identity.recovery_tokens VALIDATE CONSTRAINT recovery_tokens_spent_at_check;
ALTER TABLE identity.recovery_tokens VALIDATE CONSTRAINT recovery_tokens_token_hash_check;
ALTER TABLE identity.erasures VALIDATE CONSTRAINT erasures_audit_digest_check;
ALTER TABLE identity.erasures VALIDATE CONSTRAINT erasures_completed_at_check;
ALTER TABLE identity.erasures VALIDATE CONSTRAINT erasures_has_rows_check;
ALTER TABLE identity.erasures VALIDATE CONSTRAINT erasures_service_check;
ALTER TABLE identity.erasures VALIDATE CONSTRAINT erasures_sign_up_digest_check;

ALTER TABLE identity.users DROP CONSTRAINT users_rules;
ALTER TABLE identity.sessions DROP CONSTRAINT sessions_rules;
ALTER TABLE identity.security_audit_log DROP CONSTRAINT security_audit_log_rules;
ALTER TABLE identity.recovery_tokens DROP CONSTRAINT recovery_tokens_rules;
ALTER TABLE identity.erasures DROP CONSTRAINT erasures_rules;

DROP FUNCTION identity.check_users;
DROP FUNCTION identity.check_sessions;
DROP FUNCTION identity.check_security_audit_log;
DROP FUNCTION identity.check_recovery_tokens;
DROP FUNCTION identity.check_erasures;
DROP FUNCTION identity.refuse_row;

SET LOCAL row_security = on;
