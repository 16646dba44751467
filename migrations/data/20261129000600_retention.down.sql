SET LOCAL row_security = off;

CREATE OR REPLACE FUNCTION data.oldest_binary() RETURNS bigint
    LANGUAGE sql IMMUTABLE PARALLEL SAFE SET search_path = ''
    RETURN 20261129000100;

DROP INDEX data.encrypted_cycle_data_key_change_idx;
DROP INDEX data.encrypted_cycle_data_key_idx;
CREATE INDEX encrypted_cycle_data_key_idx ON data.encrypted_cycle_data (user_id, key_id, key_version)
    WHERE deleted_at IS NULL;
DROP FUNCTION data.trim_receipts(interval, integer);
DROP INDEX data.tombstones_counted_idx;
DROP POLICY tombstones_sweep_update ON data.tombstones;
DROP POLICY tombstones_sweep_select ON data.tombstones;
DROP FUNCTION data.trim_audit_log(interval, integer);
DROP INDEX data.security_audit_log_sweep_idx;
DROP POLICY security_audit_log_sweep_delete ON data.security_audit_log;
DROP POLICY security_audit_log_sweep_lock ON data.security_audit_log;
DROP POLICY security_audit_log_sweep_select ON data.security_audit_log;
DROP FUNCTION data.sweep_share_metadata(interval, integer);
DROP FUNCTION data.sweep_shares(integer);
DROP INDEX data.healthcare_share_ended_at_idx;
DROP INDEX data.healthcare_share_unavailable_idx;
DROP INDEX data.healthcare_share_expires_at_idx;
DROP POLICY healthcare_share_audit_sweep_delete ON data.healthcare_share_audit;
DROP POLICY healthcare_share_audit_sweep_select ON data.healthcare_share_audit;
DROP POLICY share_token_sweep_delete ON data.share_token;
DROP POLICY share_token_sweep_lock ON data.share_token;
DROP POLICY share_token_sweep_select ON data.share_token;
DROP POLICY healthcare_share_sweep_delete ON data.healthcare_share;
DROP POLICY healthcare_share_sweep_update ON data.healthcare_share;
DROP POLICY healthcare_share_sweep_select ON data.healthcare_share;

CREATE OR REPLACE FUNCTION data.validate_share_token(token_hash bytea, passcode_hash text, device_type text, at timestamptz)
    RETURNS TABLE (user_id uuid, share_id uuid, encrypted_share_data bytea, envelope_version smallint, algorithm text,
        key_id uuid, key_version integer, nonce bytea, salt bytea, kdf_memory_kib integer, kdf_iterations integer,
        kdf_parallelism integer, associated_data_version smallint, created_at timestamptz, expires_at timestamptz)
    LANGUAGE plpgsql VOLATILE ROWS 1 SECURITY DEFINER SET search_path = ''
    AS $$
DECLARE
    caller CONSTANT text := current_setting('request.jwt.claims', true);
    wanted record;
    held data.healthcare_share;
    outcome text;
    -- The service's clock decides, as far as it is about right: nobody opens what expired by saying that it is yesterday.
    opened_at CONSTANT timestamptz := greatest(validate_share_token.at, now() - interval '1 minute');
BEGIN
    -- Many at once wait for each other, whether or not there is a share: how long tells nothing.
    PERFORM pg_advisory_xact_lock(hashtextextended(encode(validate_share_token.token_hash, 'hex'), 0));
    PERFORM set_config('data.wanted_share_token', encode(validate_share_token.token_hash, 'hex'), true);
    SELECT t.user_id, t.share_id INTO wanted FROM data.share_token AS t
        WHERE t.token_hash = validate_share_token.token_hash;
    PERFORM set_config('data.wanted_share_token', '', true);
    IF wanted.user_id IS NULL THEN
        RETURN;
    END IF;
    PERFORM set_config('request.jwt.claims', jsonb_build_object('sub', wanted.user_id)::text, true);
    -- The person before the share, as whoever erases the person does: of the two at once, neither waits in a circle.
    PERFORM FROM data.users AS u WHERE u.id = wanted.user_id FOR KEY SHARE;
    SELECT * INTO held FROM data.healthcare_share AS s
        WHERE s.user_id = wanted.user_id AND s.id = wanted.share_id FOR NO KEY UPDATE;
    IF FOUND THEN
        outcome := CASE
            WHEN held.revoked_at IS NOT NULL THEN 'revoked'
            WHEN held.expires_at <= opened_at THEN 'expired'
            WHEN held.access_count >= held.max_access_count THEN 'used_up'
            WHEN held.passcode_hash IS NULL THEN 'opened'
            WHEN held.wrong_passcodes >= 5 THEN 'locked'
            WHEN validate_share_token.passcode_hash IS NULL THEN 'passcode_missing'
            -- Of a hash that nobody can choose, how much of it is right tells nothing.
            WHEN held.passcode_hash <> validate_share_token.passcode_hash THEN 'passcode_wrong'
            ELSE 'opened'
        END;
        UPDATE data.healthcare_share AS s
            SET access_count = s.access_count + (outcome = 'opened')::integer,
                last_accessed_at = CASE outcome WHEN 'opened' THEN opened_at ELSE s.last_accessed_at END,
                wrong_passcodes = s.wrong_passcodes + (outcome = 'passcode_wrong')::integer,
                refusal_count = s.refusal_count + (outcome <> 'opened')::integer
            WHERE s.user_id = wanted.user_id AND s.id = wanted.share_id;
        IF outcome IN ('opened', 'passcode_wrong') OR held.refusal_count < 1000 THEN
            INSERT INTO data.healthcare_share_audit (user_id, share_id, accessed_at, device_type, outcome)
                VALUES (wanted.user_id, wanted.share_id, opened_at, validate_share_token.device_type, outcome);
        END IF;
    END IF;
    PERFORM set_config('request.jwt.claims', caller, true);
    IF outcome = 'opened' THEN
        RETURN QUERY SELECT held.user_id, held.id, held.encrypted_payload, held.envelope_version, held.algorithm,
            held.key_id, held.key_version, held.nonce, held.salt, held.kdf_memory_kib, held.kdf_iterations,
            held.kdf_parallelism, held.associated_data_version, held.created_at, held.expires_at;
    END IF;
END
$$;

DROP TRIGGER end_revoked ON data.healthcare_share;
DROP FUNCTION data.end_revoked_share();

DROP POLICY healthcare_share_user_insert ON data.healthcare_share;
CREATE POLICY healthcare_share_user_insert ON data.healthcare_share FOR INSERT TO data_user
    WITH CHECK (user_id = (SELECT auth.uid()) AND created_at < now() + interval '1 minute'
        AND wrong_passcodes = 0 AND access_count = 0 AND refusal_count = 0 AND last_accessed_at IS NULL
        AND NOT EXISTS (SELECT FROM data.device_key AS d
            WHERE d.user_id = healthcare_share.user_id AND d.id = healthcare_share.key_id));
DROP VIEW data.share_metadata;
CREATE VIEW data.share_metadata WITH (security_invoker = true) AS
    SELECT user_id, id, algorithm, wrong_passcodes, expires_at, max_access_count, access_count, refusal_count,
        last_accessed_at, revoked_at, created_at
    FROM data.healthcare_share;
GRANT SELECT ON data.share_metadata TO haven_readonly;
-- The version before this one knows no share without its content. The triggers that count need Row Level Security.
ALTER TABLE data.healthcare_share NO FORCE ROW LEVEL SECURITY;
SET LOCAL row_security = on;
DELETE FROM data.healthcare_share WHERE ended_at IS NOT NULL;
SET LOCAL row_security = off;
ALTER TABLE data.healthcare_share FORCE ROW LEVEL SECURITY;
ALTER TABLE data.healthcare_share
    DROP CONSTRAINT healthcare_share_ended_check,
    DROP COLUMN ended_at,
    ADD CONSTRAINT healthcare_share_encrypted_check CHECK (encrypted_payload IS NOT NULL);

SET LOCAL row_security = on;
