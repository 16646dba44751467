-- oldest_binary: 20261129000600
SET LOCAL row_security = off;

-- An earlier program does not export a share without content, and stops there.
CREATE OR REPLACE FUNCTION data.oldest_binary() RETURNS bigint
    LANGUAGE sql IMMUTABLE PARALLEL SAFE SET search_path = ''
    RETURN 20261129000600;

-- A share that ended keeps its metadata for a while, and neither its content nor its token. ended_at is the time of the end:
-- NULL exactly while the content is there. A revocation ends the share at once, the sweeper each other one.
ALTER TABLE data.healthcare_share
    ADD COLUMN ended_at timestamptz,
    DROP CONSTRAINT healthcare_share_encrypted_check,
    ADD CONSTRAINT healthcare_share_ended_check CHECK ((ended_at IS NULL) = (encrypted_payload IS NOT NULL)
        AND (ended_at IS NULL OR passcode_hash IS NULL));
COMMENT ON COLUMN data.healthcare_share.ended_at IS 'The time of the end of the share, when its content is deleted; NULL before.';

DROP POLICY healthcare_share_user_insert ON data.healthcare_share;
CREATE POLICY healthcare_share_user_insert ON data.healthcare_share FOR INSERT TO data_user
    WITH CHECK (user_id = (SELECT auth.uid()) AND created_at < now() + interval '1 minute'
        AND wrong_passcodes = 0 AND access_count = 0 AND refusal_count = 0 AND last_accessed_at IS NULL AND ended_at IS NULL
        AND NOT EXISTS (SELECT FROM data.device_key AS d
            WHERE d.user_id = healthcare_share.user_id AND d.id = healthcare_share.key_id));
GRANT SELECT (ended_at) ON data.healthcare_share TO haven_readonly;
CREATE OR REPLACE VIEW data.share_metadata WITH (security_invoker = true) AS
    SELECT user_id, id, algorithm, wrong_passcodes, expires_at, max_access_count, access_count, refusal_count,
        last_accessed_at, revoked_at, created_at, ended_at
    FROM data.healthcare_share;

-- Deletes the token and the content in the transaction of the revocation, whichever program revokes. Where the person of the
-- transaction is another one, as in psql, the sweeper does it.
CREATE FUNCTION data.end_revoked_share() RETURNS trigger
    LANGUAGE plpgsql VOLATILE SECURITY DEFINER SET search_path = ''
    AS $$
BEGIN
    IF NEW.user_id IS DISTINCT FROM auth.uid() THEN
        RETURN NEW;
    END IF;
    DELETE FROM data.share_token AS t WHERE t.user_id = NEW.user_id AND t.share_id = NEW.id;
    NEW.ended_at := coalesce(OLD.ended_at, now());
    NEW.encrypted_payload := NULL;
    NEW.envelope_version := NULL;
    NEW.algorithm := NULL;
    NEW.key_id := NULL;
    NEW.key_version := NULL;
    NEW.nonce := NULL;
    NEW.salt := NULL;
    NEW.kdf_memory_kib := NULL;
    NEW.kdf_iterations := NULL;
    NEW.kdf_parallelism := NULL;
    NEW.associated_data_version := NULL;
    NEW.passcode_hash := NULL;
    RETURN NEW;
END
$$;
COMMENT ON FUNCTION data.end_revoked_share() IS 'Deletes the token and the content of a share that is revoked.';
CREATE TRIGGER end_revoked BEFORE UPDATE OF revoked_at ON data.healthcare_share FOR EACH ROW
    WHEN (OLD.revoked_at IS NULL AND NEW.revoked_at IS NOT NULL) EXECUTE FUNCTION data.end_revoked_share();

-- As before, but a locked share without a passcode hash, whose content was deleted while the call waited, is not opened.
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
    -- The service's clock decides, as far as it is about right: a call with an earlier time does not open an expired share.
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
    -- The person before the share, as an erasure locks them, so that the two do not deadlock.
    PERFORM FROM data.users AS u WHERE u.id = wanted.user_id FOR KEY SHARE;
    SELECT * INTO held FROM data.healthcare_share AS s
        WHERE s.user_id = wanted.user_id AND s.id = wanted.share_id FOR NO KEY UPDATE;
    IF FOUND THEN
        outcome := CASE
            WHEN held.revoked_at IS NOT NULL THEN 'revoked'
            WHEN held.expires_at <= opened_at THEN 'expired'
            WHEN held.access_count >= held.max_access_count THEN 'used_up'
            WHEN held.wrong_passcodes >= 5 THEN 'locked'
            WHEN held.passcode_hash IS NULL THEN 'opened'
            WHEN validate_share_token.passcode_hash IS NULL THEN 'passcode_missing'
            -- A caller cannot choose the hash, so the time of the comparison tells nothing.
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

-- The sweeps run as the owner in a transaction without a person. These policies show the owner what may be swept, and nothing
-- in a transaction of a person. A lock is an update to a policy.
CREATE POLICY healthcare_share_sweep_select ON data.healthcare_share FOR SELECT TO data_owner
    USING ((SELECT auth.uid()) IS NULL AND (ended_at IS NOT NULL OR revoked_at IS NOT NULL
        OR expires_at < now() OR access_count >= max_access_count OR wrong_passcodes >= 5));
CREATE POLICY healthcare_share_sweep_update ON data.healthcare_share FOR UPDATE TO data_owner
    USING ((SELECT auth.uid()) IS NULL AND (ended_at IS NOT NULL OR revoked_at IS NOT NULL
        OR expires_at < now() OR access_count >= max_access_count OR wrong_passcodes >= 5))
    WITH CHECK ((SELECT auth.uid()) IS NULL AND ended_at IS NOT NULL);
CREATE POLICY healthcare_share_sweep_delete ON data.healthcare_share FOR DELETE TO data_owner
    USING ((SELECT auth.uid()) IS NULL AND ended_at < now() - interval '1 day');
-- Tokens of shares that the policy above shows.
CREATE POLICY share_token_sweep_select ON data.share_token FOR SELECT TO data_owner
    USING ((SELECT auth.uid()) IS NULL AND (SELECT nullif(current_setting('data.wanted_share_token', true), '')) IS NULL
        AND (SELECT current_setting('data.sweeps_shares', true)) = 'yes');
CREATE POLICY share_token_sweep_lock ON data.share_token FOR UPDATE TO data_owner
    USING ((SELECT auth.uid()) IS NULL AND (SELECT current_setting('data.sweeps_shares', true)) = 'yes') WITH CHECK (false);
CREATE POLICY share_token_sweep_delete ON data.share_token FOR DELETE TO data_owner
    USING ((SELECT auth.uid()) IS NULL AND (SELECT current_setting('data.sweeps_shares', true)) = 'yes');
CREATE POLICY healthcare_share_audit_sweep_select ON data.healthcare_share_audit FOR SELECT TO data_owner
    USING ((SELECT auth.uid()) IS NULL AND (SELECT current_setting('data.sweeps_shares', true)) = 'yes');
CREATE POLICY healthcare_share_audit_sweep_delete ON data.healthcare_share_audit FOR DELETE TO data_owner
    USING ((SELECT auth.uid()) IS NULL AND (SELECT current_setting('data.sweeps_shares', true)) = 'yes');

CREATE INDEX healthcare_share_expires_at_idx ON data.healthcare_share (expires_at) WHERE ended_at IS NULL;
CREATE INDEX healthcare_share_unavailable_idx ON data.healthcare_share (last_accessed_at) WHERE ended_at IS NULL
    AND (revoked_at IS NOT NULL OR access_count >= max_access_count OR wrong_passcodes >= 5);
CREATE INDEX healthcare_share_ended_at_idx ON data.healthcare_share (ended_at) WHERE ended_at IS NOT NULL;

-- Ends shares that expired, were used up or were locked more than ten minutes ago: until then, attempts to open them are still
-- written down with their reason. A share or a token that another transaction has locked is left for the next round, so that
-- no sweep waits for an erasure that waits for it.
CREATE FUNCTION data.sweep_shares(batch integer) RETURNS bigint
    LANGUAGE plpgsql VOLATILE STRICT SECURITY DEFINER SET search_path = ''
    AS $$
DECLARE
    grace CONSTANT timestamptz := now() - interval '10 minutes';
    shares tid[];
    ended bigint;
BEGIN
    PERFORM set_config('data.sweeps_shares', 'yes', true);
    shares := ARRAY(SELECT s.ctid FROM data.healthcare_share AS s
        WHERE s.ended_at IS NULL AND s.expires_at < grace LIMIT sweep_shares.batch FOR UPDATE SKIP LOCKED);
    shares := shares || ARRAY(SELECT s.ctid FROM data.healthcare_share AS s
        WHERE s.ended_at IS NULL AND s.expires_at >= grace
            AND (s.revoked_at IS NOT NULL OR s.access_count >= s.max_access_count OR s.wrong_passcodes >= 5)
            AND (s.revoked_at IS NOT NULL OR (coalesce(s.last_accessed_at < grace, true) AND NOT EXISTS (
                SELECT FROM data.healthcare_share_audit AS a WHERE a.user_id = s.user_id AND a.share_id = s.id
                    AND a.accessed_at >= grace AND a.outcome = 'passcode_wrong')))
        LIMIT sweep_shares.batch - cardinality(shares) FOR UPDATE SKIP LOCKED);
    DELETE FROM data.share_token AS t WHERE t.ctid = ANY (ARRAY(
        SELECT o.ctid FROM data.share_token AS o
            JOIN data.healthcare_share AS s ON s.user_id = o.user_id AND s.id = o.share_id
        WHERE s.ctid = ANY (shares) FOR UPDATE OF o SKIP LOCKED));
    UPDATE data.healthcare_share AS s
        SET ended_at = least(now(), s.expires_at, s.revoked_at,
                CASE WHEN s.access_count >= s.max_access_count THEN s.last_accessed_at END),
            encrypted_payload = NULL, envelope_version = NULL, algorithm = NULL, key_id = NULL, key_version = NULL,
            nonce = NULL, salt = NULL, kdf_memory_kib = NULL, kdf_iterations = NULL, kdf_parallelism = NULL,
            associated_data_version = NULL, passcode_hash = NULL
        WHERE s.ctid = ANY (shares) AND NOT EXISTS (
            SELECT FROM data.share_token AS t WHERE t.user_id = s.user_id AND t.share_id = s.id);
    GET DIAGNOSTICS ended = ROW_COUNT;
    PERFORM set_config('data.sweeps_shares', '', true);
    RETURN ended;
END
$$;
COMMENT ON FUNCTION data.sweep_shares(integer) IS
    'Deletes the content and the tokens of so many ended shares at most. Answers how many.';

-- Deletes what is kept of shares that ended before the retention, the attempts to open them first.
CREATE FUNCTION data.sweep_share_metadata(retention interval, batch integer) RETURNS bigint
    LANGUAGE plpgsql VOLATILE STRICT SECURITY DEFINER SET search_path = ''
    AS $$
DECLARE
    before CONSTANT timestamptz := now() - greatest(sweep_share_metadata.retention, interval '1 day');
    shares tid[];
    attempts bigint;
    deleted bigint := 0;
BEGIN
    PERFORM set_config('data.sweeps_shares', 'yes', true);
    shares := ARRAY(SELECT s.ctid FROM data.healthcare_share AS s WHERE s.ended_at < before
        ORDER BY s.ended_at LIMIT sweep_share_metadata.batch FOR UPDATE SKIP LOCKED);
    DELETE FROM data.healthcare_share_audit AS a WHERE a.ctid = ANY (ARRAY(
        SELECT o.ctid FROM data.healthcare_share_audit AS o
            JOIN data.healthcare_share AS s ON s.user_id = o.user_id AND s.id = o.share_id
        WHERE s.ctid = ANY (shares) LIMIT sweep_share_metadata.batch));
    GET DIAGNOSTICS attempts = ROW_COUNT;
    IF attempts < sweep_share_metadata.batch THEN
        DELETE FROM data.healthcare_share AS s WHERE s.ctid = ANY (shares);
        GET DIAGNOSTICS deleted = ROW_COUNT;
    END IF;
    PERFORM set_config('data.sweeps_shares', '', true);
    RETURN attempts + deleted;
END
$$;
COMMENT ON FUNCTION data.sweep_share_metadata(interval, integer) IS
    'Deletes so many old shares and attempts to open them at most. Answers how many.';

-- By this server's clock, and never the last day, as in identity.
CREATE POLICY security_audit_log_sweep_select ON data.security_audit_log FOR SELECT TO data_owner
    USING ((SELECT auth.uid()) IS NULL AND occurred_at < now() - interval '1 day');
CREATE POLICY security_audit_log_sweep_lock ON data.security_audit_log FOR UPDATE TO data_owner
    USING ((SELECT auth.uid()) IS NULL AND occurred_at < now() - interval '1 day') WITH CHECK (false);
CREATE POLICY security_audit_log_sweep_delete ON data.security_audit_log FOR DELETE TO data_owner
    USING ((SELECT auth.uid()) IS NULL AND occurred_at < now() - interval '1 day');
CREATE INDEX security_audit_log_sweep_idx ON data.security_audit_log (occurred_at);
CREATE FUNCTION data.trim_audit_log(retention interval, batch integer) RETURNS bigint
    LANGUAGE plpgsql VOLATILE STRICT SECURITY DEFINER SET search_path = ''
    AS $$
DECLARE
    before CONSTANT timestamptz := now() - greatest(trim_audit_log.retention, interval '1 day');
    deleted bigint;
BEGIN
    DELETE FROM data.security_audit_log AS l WHERE l.ctid = ANY (ARRAY(SELECT o.ctid FROM data.security_audit_log AS o
        WHERE o.occurred_at < before ORDER BY o.occurred_at LIMIT trim_audit_log.batch FOR UPDATE SKIP LOCKED));
    GET DIAGNOSTICS deleted = ROW_COUNT;
    RETURN deleted;
END
$$;
COMMENT ON FUNCTION data.trim_audit_log(interval, integer) IS
    'Deletes so many events at most that are older than that. Answers how many.';

-- The receipt's counts go; that and when the person was erased stays.
CREATE POLICY tombstones_sweep_select ON data.tombstones FOR SELECT TO data_owner
    USING ((SELECT auth.uid()) IS NULL AND erased_at < now() - interval '1 day');
CREATE POLICY tombstones_sweep_update ON data.tombstones FOR UPDATE TO data_owner
    USING ((SELECT auth.uid()) IS NULL AND erased_at < now() - interval '1 day')
    WITH CHECK ((SELECT auth.uid()) IS NULL AND erased = '{}');
CREATE INDEX tombstones_counted_idx ON data.tombstones (erased_at) WHERE erased <> '{}';
CREATE FUNCTION data.trim_receipts(retention interval, batch integer) RETURNS bigint
    LANGUAGE plpgsql VOLATILE STRICT SECURITY DEFINER SET search_path = ''
    AS $$
DECLARE
    before CONSTANT timestamptz := now() - greatest(trim_receipts.retention, interval '1 day');
    trimmed bigint;
BEGIN
    UPDATE data.tombstones AS t SET erased = '{}' WHERE t.user_id = ANY (ARRAY(SELECT o.user_id FROM data.tombstones AS o
        WHERE o.erased_at < before AND o.erased <> '{}' ORDER BY o.erased_at LIMIT trim_receipts.batch FOR UPDATE SKIP LOCKED));
    GET DIAGNOSTICS trimmed = ROW_COUNT;
    RETURN trimmed;
END
$$;
COMMENT ON FUNCTION data.trim_receipts(interval, integer) IS
    'Empties the counts of so many receipts at most that are older than that. Answers how many.';

-- For ListRecords of the records that have to be encrypted again: those of each key version, in the orders of the list. The first
-- one replaces the index for the rotation of a key.
DROP INDEX data.encrypted_cycle_data_key_idx;
CREATE INDEX encrypted_cycle_data_key_idx ON data.encrypted_cycle_data (user_id, key_id, key_version, local_timestamp, id)
    WHERE deleted_at IS NULL;
CREATE INDEX encrypted_cycle_data_key_change_idx ON data.encrypted_cycle_data (user_id, key_id, key_version, change_number)
    WHERE deleted_at IS NULL;

GRANT EXECUTE ON FUNCTION data.sweep_shares(integer), data.sweep_share_metadata(interval, integer),
    data.trim_audit_log(interval, integer), data.trim_receipts(interval, integer) TO data_service;

SET LOCAL row_security = on;
