SET LOCAL row_security = off;

-- The migration before makes them valid.
ALTER TABLE identity.users
    ADD CONSTRAINT users_credential_check CHECK (num_nonnulls(email, email_canonical, password_hash) IN (0, 3)) NOT VALID,
    ADD CONSTRAINT users_email_canonical_check CHECK (octet_length(email_canonical) BETWEEN 3 AND 1024) NOT VALID,
    ADD CONSTRAINT users_email_check CHECK (octet_length(email) BETWEEN 3 AND 1024) NOT VALID,
    ADD CONSTRAINT users_erased_at_check CHECK (
        erased_at IS NULL OR num_nonnulls(email, email_canonical, password_hash) = 0
    ) NOT VALID,
    ADD CONSTRAINT users_goals_check CHECK ((cardinality(goals) > 0 OR email IS NULL)
        AND coalesce(array_ndims(goals), 1) = 1
        AND cardinality(goals) = (goals @> ARRAY['build_confidence'])::integer + (goals @> ARRAY['make_friends'])::integer
            + (goals @> ARRAY['improve_conversations'])::integer + (goals @> ARRAY['overcome_anxiety'])::integer
            + (goals @> ARRAY['join_activities'])::integer + (goals @> ARRAY['dating_skills'])::integer
            + (goals @> ARRAY['roommate_relations'])::integer) NOT VALID,
    ADD CONSTRAINT users_graduated_at_check CHECK (graduated_at IS NULL OR stage = 3) NOT VALID,
    ADD CONSTRAINT users_password_hash_check CHECK (
        password_hash ~ '^\$(argon2id|argon2i|scrypt|2a|2b|2y|pbkdf2-sha256|pbkdf2-sha512|firebase-scrypt|wp|devise|django-bcrypt-sha256)\$'
    ) NOT VALID,
    ADD CONSTRAINT users_password_version_check CHECK (password_version >= 1) NOT VALID,
    ADD CONSTRAINT users_stage_check CHECK (stage BETWEEN 1 AND 3) NOT VALID,
    ADD CONSTRAINT users_version_check CHECK (version >= 1) NOT VALID;
ALTER TABLE identity.sessions
    ADD CONSTRAINT sessions_end_reason_check CHECK (
        end_reason IN ('signed_out', 'revoked', 'password_changed', 'token_reused', 'account_deleted',
        'too_many', 'email_undone')
    ) NOT VALID,
    ADD CONSTRAINT sessions_ended_at_check CHECK ((ended_at IS NULL) = (end_reason IS NULL)) NOT VALID,
    ADD CONSTRAINT sessions_expires_at_check CHECK (expires_at > issued_at) NOT VALID,
    ADD CONSTRAINT sessions_refresh_expires_at_check CHECK (refresh_expires_at > issued_at) NOT VALID,
    ADD CONSTRAINT sessions_refreshed_at_check CHECK (refreshed_at >= issued_at) NOT VALID;
ALTER TABLE identity.security_audit_log
    ADD CONSTRAINT security_audit_log_digest_check CHECK (octet_length(digest) = 32) NOT VALID,
    ADD CONSTRAINT security_audit_log_event_check CHECK (
        event IN ('sign_up', 'sign_in', 'sign_out', 'password_change', 'token_reuse', 'consent_grant',
        'consent_withdraw', 'stage', 'deletion', 'account_export', 'password_reset_request', 'password_reset',
        'email_verification_request', 'email_verification', 'email_change_request', 'email_change', 'email_undo',
        'account_import')
    ) NOT VALID,
    ADD CONSTRAINT security_audit_log_network_mac_check CHECK (octet_length(network_mac) BETWEEN 32 AND 40) NOT VALID,
    ADD CONSTRAINT security_audit_log_number_check CHECK (number >= 1) NOT VALID,
    ADD CONSTRAINT security_audit_log_service_check CHECK (octet_length(service) BETWEEN 1 AND 255) NOT VALID;
ALTER TABLE identity.recovery_tokens
    ADD CONSTRAINT recovery_tokens_address_check CHECK (num_nonnulls(email, email_canonical)
        = CASE WHEN (kind IN ('email_change', 'email_undo') AND spent_at IS NULL) THEN 2 ELSE 0 END) NOT VALID,
    ADD CONSTRAINT recovery_tokens_change_id_check CHECK ((kind = 'email_undo') = (change_id IS NOT NULL)) NOT VALID,
    ADD CONSTRAINT recovery_tokens_email_canonical_check CHECK (octet_length(email_canonical) BETWEEN 3 AND 1024) NOT VALID,
    ADD CONSTRAINT recovery_tokens_email_check CHECK (octet_length(email) BETWEEN 3 AND 1024) NOT VALID,
    ADD CONSTRAINT recovery_tokens_expires_at_check CHECK (expires_at > issued_at) NOT VALID,
    ADD CONSTRAINT recovery_tokens_kind_check CHECK (
        kind IN ('password_reset', 'email_verification', 'email_change', 'email_undo')
    ) NOT VALID,
    ADD CONSTRAINT recovery_tokens_opened_at_check CHECK (opened_at IS NULL OR kind = 'email_undo') NOT VALID,
    ADD CONSTRAINT recovery_tokens_spent_at_check CHECK (spent_at >= issued_at) NOT VALID,
    ADD CONSTRAINT recovery_tokens_token_hash_check CHECK (octet_length(token_hash) BETWEEN 32 AND 40) NOT VALID;
ALTER TABLE identity.erasures
    ADD CONSTRAINT erasures_audit_digest_check CHECK (octet_length(audit_digest) = 32) NOT VALID,
    ADD CONSTRAINT erasures_completed_at_check CHECK ((completed_at IS NULL) = (data_erased IS NULL)) NOT VALID,
    ADD CONSTRAINT erasures_has_rows_check CHECK (NOT has_rows OR completed_at IS NULL) NOT VALID,
    ADD CONSTRAINT erasures_service_check CHECK (octet_length(service) BETWEEN 1 AND 255) NOT VALID,
    ADD CONSTRAINT erasures_sign_up_digest_check CHECK (octet_length(sign_up_digest) = 32) NOT VALID;

SET LOCAL row_security = on;
