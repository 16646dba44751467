SET LOCAL row_security = off;

CREATE OR REPLACE FUNCTION identity.missing_secret_keys(known text[]) RETURNS SETOF text
    LANGUAGE plpgsql VOLATILE STRICT ROWS 1 SECURITY DEFINER SET search_path = ''
    AS $$
BEGIN
    PERFORM set_config('identity.looks_at_keys', 'yes', true);
    -- From one key to the next in each index: this costs as much as there are keys, and not as there are rows.
    RETURN QUERY
        WITH RECURSIVE of_requests AS (
            SELECT min(r.key_id) AS key_id FROM identity.requests AS r
            UNION ALL
            SELECT (SELECT min(r.key_id) FROM identity.requests AS r WHERE r.key_id > k.key_id)
            FROM of_requests AS k WHERE k.key_id IS NOT NULL
        ), of_refresh_tokens AS (
            SELECT min(r.key_id) AS key_id FROM identity.refresh_tokens AS r
            UNION ALL
            SELECT (SELECT min(r.key_id) FROM identity.refresh_tokens AS r WHERE r.key_id > k.key_id)
            FROM of_refresh_tokens AS k WHERE k.key_id IS NOT NULL
        ), of_device_tokens AS (
            SELECT min(r.key_id) AS key_id FROM identity.device_tokens AS r
            UNION ALL
            SELECT (SELECT min(r.key_id) FROM identity.device_tokens AS r WHERE r.key_id > k.key_id)
            FROM of_device_tokens AS k WHERE k.key_id IS NOT NULL
        )
        SELECT k.key_id FROM of_requests AS k WHERE k.key_id <> ALL (missing_secret_keys.known)
        UNION
        SELECT k.key_id FROM of_refresh_tokens AS k WHERE k.key_id <> ALL (missing_secret_keys.known)
        UNION
        SELECT k.key_id FROM of_device_tokens AS k WHERE k.key_id <> ALL (missing_secret_keys.known);
    PERFORM set_config('identity.looks_at_keys', '', true);
END
$$;
CREATE OR REPLACE FUNCTION identity.count_secret_keys() RETURNS TABLE (hash text, key_id text, count bigint)
    LANGUAGE plpgsql VOLATILE ROWS 8 SECURITY DEFINER SET search_path = ''
    AS $$
BEGIN
    PERFORM set_config('identity.looks_at_keys', 'yes', true);
    RETURN QUERY
        SELECT 'requests.payload_mac', r.key_id, count(*) FROM identity.requests AS r GROUP BY r.key_id
        UNION ALL
        SELECT 'refresh_tokens.token_hash', r.key_id, count(*) FROM identity.refresh_tokens AS r GROUP BY r.key_id
        UNION ALL
        SELECT 'device_tokens.token_hash', r.key_id, count(*) FROM identity.device_tokens AS r GROUP BY r.key_id
        ORDER BY 1, 2;
    PERFORM set_config('identity.looks_at_keys', '', true);
END
$$;

DROP FUNCTION identity.sweep_recovery_tokens(integer);
REVOKE EXECUTE ON FUNCTION identity.admit_call(bytea[], interval[], interval[], bytea[], bytea[], interval, interval)
    FROM identity_service;
DROP FUNCTION identity.undo_email_change(uuid, text, uuid, bytea, interval, timestamptz);
DROP FUNCTION identity.confirm_email_change(uuid, timestamptz);
DROP FUNCTION identity.verify_email(uuid, timestamptz);
DROP FUNCTION identity.reset_password(uuid, text, timestamptz);
DROP FUNCTION identity.spend_recovery_token(uuid, text);
DROP FUNCTION identity.find_recovery_token(bytea[], uuid);
DROP FUNCTION identity.issue_email_change(
    text, uuid, bytea, text, text, interval, uuid, bytea, interval, integer
);
DROP FUNCTION identity.issue_recovery_token(text, uuid, bytea, text, interval);
DROP FUNCTION identity.note_unknown_reset(bytea, interval);
DROP FUNCTION identity.find_reset(text, uuid, bytea[]);
DROP TRIGGER users_guard_recovery ON identity.users;
DROP FUNCTION identity.guard_recovery();
DROP FUNCTION identity.is_reserved(text, uuid);
DROP POLICY requests_find_recovery ON identity.requests;
DROP TABLE identity.recovery_tokens;

-- The rows are the owner's for this one statement.
ALTER TABLE identity.sessions NO FORCE ROW LEVEL SECURITY;
UPDATE identity.sessions SET end_reason = 'revoked' WHERE end_reason = 'email_undone';
ALTER TABLE identity.sessions
    FORCE ROW LEVEL SECURITY,
    DROP CONSTRAINT sessions_end_reason_check,
    ADD CONSTRAINT sessions_end_reason_check CHECK (
        end_reason IN ('signed_out', 'revoked', 'password_changed', 'token_reused', 'account_deleted', 'too_many')
    );

-- The program of that schema knows no recovery. Events are a chain, from which none can be taken but the oldest: a log goes up to its
-- last event of recovery, as by retention. The rows are the owner's for these statements.
ALTER TABLE identity.security_audit_log NO FORCE ROW LEVEL SECURITY;
ALTER TABLE identity.audit_chains NO FORCE ROW LEVEL SECURITY;
UPDATE identity.audit_chains AS c SET trimmed_number = l.number, trimmed_digest = l.digest
    FROM identity.security_audit_log AS l
    WHERE l.user_id = c.user_id AND l.number = (
        SELECT max(e.number) FROM identity.security_audit_log AS e
        WHERE e.user_id = c.user_id AND e.event IN (
            'password_reset_request', 'password_reset', 'email_verification_request', 'email_verification',
            'email_change_request', 'email_change', 'email_undo'
        )
    );
DELETE FROM identity.security_audit_log AS l USING identity.audit_chains AS c
    WHERE c.user_id = l.user_id AND l.number <= c.trimmed_number;
ALTER TABLE identity.security_audit_log FORCE ROW LEVEL SECURITY;
ALTER TABLE identity.audit_chains FORCE ROW LEVEL SECURITY;
DO $$
DECLARE
    added CONSTANT text := ', ''password_reset_request''::text, ''password_reset''::text, ''email_verification_request''::text, '
        '''email_verification''::text, ''email_change_request''::text, ''email_change''::text, ''email_undo''::text';
    later CONSTANT text := (
        SELECT pg_get_constraintdef(c.oid) FROM pg_constraint AS c
        WHERE c.conrelid = 'identity.security_audit_log'::regclass AND c.conname = 'security_audit_log_event_check'
    );
BEGIN
    ALTER TABLE identity.security_audit_log DROP CONSTRAINT security_audit_log_event_check;
    EXECUTE 'ALTER TABLE identity.security_audit_log ADD CONSTRAINT security_audit_log_event_check '
        || replace(later, added, '');
END
$$;

ALTER TABLE identity.users DROP COLUMN email_verified_at;

SET LOCAL row_security = on;
