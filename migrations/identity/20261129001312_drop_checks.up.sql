-- oldest_binary: 20261129000400
SET LOCAL row_security = off;

-- Each of these rules is in a function now, under the same name.
ALTER TABLE identity.users
    DROP CONSTRAINT users_credential_check,
    DROP CONSTRAINT users_email_canonical_check,
    DROP CONSTRAINT users_email_check,
    DROP CONSTRAINT users_erased_at_check,
    DROP CONSTRAINT users_goals_check,
    DROP CONSTRAINT users_graduated_at_check,
    DROP CONSTRAINT users_password_hash_check,
    DROP CONSTRAINT users_password_version_check,
    DROP CONSTRAINT users_stage_check,
    DROP CONSTRAINT users_version_check;
ALTER TABLE identity.sessions
    DROP CONSTRAINT sessions_end_reason_check,
    DROP CONSTRAINT sessions_ended_at_check,
    DROP CONSTRAINT sessions_expires_at_check,
    DROP CONSTRAINT sessions_refresh_expires_at_check,
    DROP CONSTRAINT sessions_refreshed_at_check;
ALTER TABLE identity.security_audit_log
    DROP CONSTRAINT security_audit_log_digest_check,
    DROP CONSTRAINT security_audit_log_event_check,
    DROP CONSTRAINT security_audit_log_network_mac_check,
    DROP CONSTRAINT security_audit_log_number_check,
    DROP CONSTRAINT security_audit_log_service_check;
ALTER TABLE identity.recovery_tokens
    DROP CONSTRAINT recovery_tokens_address_check,
    DROP CONSTRAINT recovery_tokens_change_id_check,
    DROP CONSTRAINT recovery_tokens_email_canonical_check,
    DROP CONSTRAINT recovery_tokens_email_check,
    DROP CONSTRAINT recovery_tokens_expires_at_check,
    DROP CONSTRAINT recovery_tokens_kind_check,
    DROP CONSTRAINT recovery_tokens_opened_at_check,
    DROP CONSTRAINT recovery_tokens_spent_at_check,
    DROP CONSTRAINT recovery_tokens_token_hash_check;
ALTER TABLE identity.erasures
    DROP CONSTRAINT erasures_audit_digest_check,
    DROP CONSTRAINT erasures_completed_at_check,
    DROP CONSTRAINT erasures_has_rows_check,
    DROP CONSTRAINT erasures_service_check,
    DROP CONSTRAINT erasures_sign_up_digest_check;

SET LOCAL row_security = on;
