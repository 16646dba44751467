-- oldest_binary: 20261129000400
SET LOCAL row_security = off;

-- Postgres reads each CHECK of a table from its text again for every statement, and keeps a function of plpgsql compiled in the
-- session. So the rules of a row are in a function where a table has many of them: see migrations/README.md. Each rule keeps its
-- name, the order in which Postgres tried them, which is that of their names, and that NULL passes.
--
-- The functions that hold the rules have no search_path of their own: to set it costs as much as what they do. Besides refuse_row
-- they name only what is in pg_catalog, and no role that writes a row may create an object that could hide that.

CREATE FUNCTION identity.refuse_row(relation text, rule text) RETURNS boolean
    LANGUAGE plpgsql IMMUTABLE PARALLEL SAFE SET search_path = ''
    AS $$
BEGIN
    RAISE check_violation USING
        MESSAGE = format('new row for relation "%s" violates check constraint "%s"', relation, rule),
        SCHEMA = 'identity', TABLE = relation, CONSTRAINT = rule;
END
$$;
COMMENT ON FUNCTION identity.refuse_row IS
    'Fails as a CHECK of that name does, without the row''s content.';
GRANT EXECUTE ON FUNCTION identity.refuse_row TO identity_anon, identity_service, identity_user;

CREATE FUNCTION identity.check_users(
    email text, email_canonical text, password_hash text, goals text[], stage smallint, graduated_at timestamptz,
    version bigint, password_version bigint, erased_at timestamptz
) RETURNS boolean
    LANGUAGE plpgsql IMMUTABLE PARALLEL SAFE
    AS $$
DECLARE
    broken CONSTANT text := CASE
        WHEN NOT (num_nonnulls(email, email_canonical, password_hash) IN (0, 3)) THEN 'users_credential_check'
        WHEN NOT (octet_length(email_canonical) BETWEEN 3 AND 1024) THEN 'users_email_canonical_check'
        WHEN NOT (octet_length(email) BETWEEN 3 AND 1024) THEN 'users_email_check'
        WHEN NOT (erased_at IS NULL OR num_nonnulls(email, email_canonical, password_hash) = 0) THEN 'users_erased_at_check'
        -- A set: as many elements as known goals among them, so none unknown, none twice and none NULL.
        WHEN NOT ((cardinality(goals) > 0 OR email IS NULL)
            AND coalesce(array_ndims(goals), 1) = 1
            AND cardinality(goals) = (goals @> ARRAY['build_confidence'])::integer + (goals @> ARRAY['make_friends'])::integer
                + (goals @> ARRAY['improve_conversations'])::integer + (goals @> ARRAY['overcome_anxiety'])::integer
                + (goals @> ARRAY['join_activities'])::integer + (goals @> ARRAY['dating_skills'])::integer
                + (goals @> ARRAY['roommate_relations'])::integer) THEN 'users_goals_check'
        WHEN NOT (graduated_at IS NULL OR stage = 3) THEN 'users_graduated_at_check'
        -- A password is never stored as it was typed. To split it is cheaper than a regular expression,
        -- which costs as much as all other rules.
        WHEN NOT (password_hash LIKE '$%$%'
            AND split_part(password_hash, '$', 2) IN ('argon2id', 'argon2i', 'scrypt', '2a', '2b', '2y', 'pbkdf2-sha256',
                'pbkdf2-sha512', 'firebase-scrypt', 'wp', 'devise', 'django-bcrypt-sha256')) THEN 'users_password_hash_check'
        WHEN NOT (password_version >= 1) THEN 'users_password_version_check'
        WHEN NOT (stage BETWEEN 1 AND 3) THEN 'users_stage_check'
        WHEN NOT (version >= 1) THEN 'users_version_check'
    END;
BEGIN
    IF broken IS NULL THEN
        RETURN true;
    END IF;
    RETURN identity.refuse_row('users', broken);
END
$$;
COMMENT ON FUNCTION identity.check_users IS 'The rules of a row of identity.users.';
GRANT EXECUTE ON FUNCTION identity.check_users TO identity_anon, identity_service, identity_user;

CREATE FUNCTION identity.check_sessions(
    issued_at timestamptz, expires_at timestamptz, refreshed_at timestamptz, refresh_expires_at timestamptz,
    ended_at timestamptz, end_reason text
) RETURNS boolean
    LANGUAGE plpgsql IMMUTABLE PARALLEL SAFE
    AS $$
DECLARE
    broken CONSTANT text := CASE
        WHEN NOT (end_reason IN ('signed_out', 'revoked', 'password_changed', 'token_reused', 'account_deleted',
            'too_many', 'email_undone')) THEN 'sessions_end_reason_check'
        WHEN NOT ((ended_at IS NULL) = (end_reason IS NULL)) THEN 'sessions_ended_at_check'
        WHEN NOT (expires_at > issued_at) THEN 'sessions_expires_at_check'
        WHEN NOT (refresh_expires_at > issued_at) THEN 'sessions_refresh_expires_at_check'
        WHEN NOT (refreshed_at >= issued_at) THEN 'sessions_refreshed_at_check'
    END;
BEGIN
    IF broken IS NULL THEN
        RETURN true;
    END IF;
    RETURN identity.refuse_row('sessions', broken);
END
$$;
COMMENT ON FUNCTION identity.check_sessions IS 'The rules of a row of identity.sessions.';
GRANT EXECUTE ON FUNCTION identity.check_sessions TO identity_user;

CREATE FUNCTION identity.check_security_audit_log(
    number bigint, event text, service text, network_mac bytea, digest bytea
) RETURNS boolean
    LANGUAGE plpgsql IMMUTABLE PARALLEL SAFE
    AS $$
DECLARE
    broken CONSTANT text := CASE
        WHEN NOT (octet_length(digest) = 32) THEN 'security_audit_log_digest_check'
        WHEN NOT (event IN ('sign_up', 'sign_in', 'sign_out', 'password_change', 'token_reuse', 'consent_grant',
            'consent_withdraw', 'stage', 'deletion', 'account_export', 'password_reset_request', 'password_reset',
            'email_verification_request', 'email_verification', 'email_change_request', 'email_change', 'email_undo',
            'account_import')) THEN 'security_audit_log_event_check'
        WHEN NOT (octet_length(network_mac) BETWEEN 32 AND 40) THEN 'security_audit_log_network_mac_check'
        WHEN NOT (number >= 1) THEN 'security_audit_log_number_check'
        WHEN NOT (octet_length(service) BETWEEN 1 AND 255) THEN 'security_audit_log_service_check'
    END;
BEGIN
    IF broken IS NULL THEN
        RETURN true;
    END IF;
    RETURN identity.refuse_row('security_audit_log', broken);
END
$$;
COMMENT ON FUNCTION identity.check_security_audit_log IS 'The rules of a row of identity.security_audit_log.';

CREATE FUNCTION identity.check_recovery_tokens(
    kind text, token_hash bytea, email text, email_canonical text, change_id uuid, opened_at timestamptz,
    issued_at timestamptz, expires_at timestamptz, spent_at timestamptz
) RETURNS boolean
    LANGUAGE plpgsql IMMUTABLE PARALLEL SAFE
    AS $$
DECLARE
    broken CONSTANT text := CASE
        WHEN NOT (num_nonnulls(email, email_canonical)
            = CASE WHEN (kind IN ('email_change', 'email_undo') AND spent_at IS NULL) THEN 2 ELSE 0 END)
            THEN 'recovery_tokens_address_check'
        WHEN NOT ((kind = 'email_undo') = (change_id IS NOT NULL)) THEN 'recovery_tokens_change_id_check'
        WHEN NOT (octet_length(email_canonical) BETWEEN 3 AND 1024) THEN 'recovery_tokens_email_canonical_check'
        WHEN NOT (octet_length(email) BETWEEN 3 AND 1024) THEN 'recovery_tokens_email_check'
        WHEN NOT (expires_at > issued_at) THEN 'recovery_tokens_expires_at_check'
        WHEN NOT (kind IN ('password_reset', 'email_verification', 'email_change', 'email_undo'))
            THEN 'recovery_tokens_kind_check'
        WHEN NOT (opened_at IS NULL OR kind = 'email_undo') THEN 'recovery_tokens_opened_at_check'
        WHEN NOT (spent_at >= issued_at) THEN 'recovery_tokens_spent_at_check'
        WHEN NOT (octet_length(token_hash) BETWEEN 32 AND 40) THEN 'recovery_tokens_token_hash_check'
    END;
BEGIN
    IF broken IS NULL THEN
        RETURN true;
    END IF;
    RETURN identity.refuse_row('recovery_tokens', broken);
END
$$;
COMMENT ON FUNCTION identity.check_recovery_tokens IS 'The rules of a row of identity.recovery_tokens.';

CREATE FUNCTION identity.check_erasures(
    service text, data_erased jsonb, completed_at timestamptz, audit_digest bytea, has_rows boolean,
    sign_up_digest bytea
) RETURNS boolean
    LANGUAGE plpgsql IMMUTABLE PARALLEL SAFE
    AS $$
DECLARE
    broken CONSTANT text := CASE
        WHEN NOT (octet_length(audit_digest) = 32) THEN 'erasures_audit_digest_check'
        WHEN NOT ((completed_at IS NULL) = (data_erased IS NULL)) THEN 'erasures_completed_at_check'
        WHEN NOT (NOT has_rows OR completed_at IS NULL) THEN 'erasures_has_rows_check'
        WHEN NOT (octet_length(service) BETWEEN 1 AND 255) THEN 'erasures_service_check'
        WHEN NOT (octet_length(sign_up_digest) = 32) THEN 'erasures_sign_up_digest_check'
    END;
BEGIN
    IF broken IS NULL THEN
        RETURN true;
    END IF;
    RETURN identity.refuse_row('erasures', broken);
END
$$;
COMMENT ON FUNCTION identity.check_erasures IS 'The rules of a row of identity.erasures.';
GRANT EXECUTE ON FUNCTION identity.check_erasures TO identity_service;

ALTER TABLE identity.users
    ADD CONSTRAINT users_rules CHECK (identity.check_users(email, email_canonical, password_hash, goals, stage, graduated_at,
        version, password_version, erased_at)) NOT VALID;
ALTER TABLE identity.sessions
    ADD CONSTRAINT sessions_rules CHECK (identity.check_sessions(issued_at, expires_at, refreshed_at, refresh_expires_at,
        ended_at, end_reason)) NOT VALID;
ALTER TABLE identity.security_audit_log
    ADD CONSTRAINT security_audit_log_rules CHECK (identity.check_security_audit_log(number, event, service, network_mac,
        digest)) NOT VALID;
ALTER TABLE identity.recovery_tokens
    ADD CONSTRAINT recovery_tokens_rules CHECK (identity.check_recovery_tokens(kind, token_hash, email, email_canonical,
        change_id, opened_at, issued_at, expires_at, spent_at)) NOT VALID;
ALTER TABLE identity.erasures
    ADD CONSTRAINT erasures_rules CHECK (identity.check_erasures(service, data_erased, completed_at, audit_digest, has_rows,
        sign_up_digest)) NOT VALID;

-- The constraints from before hold until these are valid. The way back makes them valid again in a transaction that stops no
-- write, so they go through the state in which they are not.
DO $$
DECLARE
    relation regclass;
    name text;
    definition text;
BEGIN
    FOR relation, name, definition IN
        SELECT c.conrelid::regclass, c.conname, pg_get_constraintdef(c.oid) FROM pg_constraint AS c
        WHERE c.contype = 'c' AND c.conname NOT LIKE '%\_rules' AND c.conrelid = ANY (ARRAY[
            'identity.users', 'identity.sessions', 'identity.security_audit_log', 'identity.recovery_tokens',
            'identity.erasures'
        ]::regclass[])
    LOOP
        EXECUTE format('ALTER TABLE %s DROP CONSTRAINT %I, ADD CONSTRAINT %I %s NOT VALID', relation, name, name, definition);
    END LOOP;
END
$$;

SET LOCAL row_security = on;
