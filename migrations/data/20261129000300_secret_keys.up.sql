-- oldest_binary: 20261129000100
SET LOCAL row_security = off;

-- The secret of keyed hashes is a ring of keys, so a stored hash names the key that made it: its 32 bytes are followed by the
-- id of the key, 1 to 8 characters. Hashes without an id are under the key `k1`: those from before this migration, and those
-- of a ring whose first key has this id. So a program that knows of no ring reads and writes the same rows.
--
-- key_id is the id as text, for the indexes by which a service finds at start which keys are needed.

ALTER TABLE data.requests
    DROP CONSTRAINT requests_payload_mac_check,
    ADD CONSTRAINT requests_payload_mac_check CHECK (octet_length(payload_mac) BETWEEN 32 AND 40),
    ADD COLUMN key_id text NOT NULL GENERATED ALWAYS AS (coalesce(nullif(encode(substr(payload_mac, 33), 'escape'), ''), 'k1')) STORED;
CREATE INDEX requests_key_id_idx ON data.requests (key_id, user_id);
CREATE POLICY requests_keys ON data.requests FOR SELECT TO data_owner
    USING ((SELECT current_setting('data.looks_at_keys', true)) = 'yes');

ALTER TABLE data.share_token
    DROP CONSTRAINT share_token_token_hash_check,
    ADD CONSTRAINT share_token_token_hash_check CHECK (octet_length(token_hash) BETWEEN 32 AND 40),
    ADD COLUMN key_id text NOT NULL GENERATED ALWAYS AS (coalesce(nullif(encode(substr(token_hash, 33), 'escape'), ''), 'k1')) STORED;
CREATE INDEX share_token_key_id_idx ON data.share_token (key_id, user_id);
-- Not while a share is opened, so that the setting finds no token of a locked person.
CREATE POLICY share_token_keys ON data.share_token FOR SELECT TO data_owner
    USING ((SELECT current_setting('data.looks_at_keys', true)) = 'yes'
        AND (SELECT nullif(current_setting('data.wanted_share_token', true), '')) IS NULL);

ALTER TABLE data.device_key
    DROP CONSTRAINT device_key_device_id_hash_check,
    ADD CONSTRAINT device_key_device_id_hash_check CHECK (octet_length(device_id_hash) BETWEEN 32 AND 40),
    ADD COLUMN key_id text NOT NULL GENERATED ALWAYS AS (coalesce(nullif(encode(substr(device_id_hash, 33), 'escape'), ''), 'k1')) STORED;
CREATE POLICY device_key_keys ON data.device_key FOR SELECT TO data_owner
    USING ((SELECT current_setting('data.looks_at_keys', true)) = 'yes');

CREATE POLICY healthcare_share_keys ON data.healthcare_share FOR SELECT TO data_owner
    USING ((SELECT current_setting('data.looks_at_keys', true)) = 'yes');

-- The functions below run as the owner, and say that they look at keys. The setting shows another role nothing: the policies
-- are the owner's.
CREATE FUNCTION data.missing_secret_keys(known text[]) RETURNS SETOF text
    LANGUAGE plpgsql VOLATILE STRICT ROWS 1 SECURITY DEFINER SET search_path = ''
    AS $$
BEGIN
    PERFORM set_config('data.looks_at_keys', 'yes', true);
    -- From one key to the next in each index: this costs as much as there are keys, and not as there are rows.
    RETURN QUERY
        WITH RECURSIVE of_requests AS (
            SELECT min(r.key_id) AS key_id FROM data.requests AS r
            UNION ALL
            SELECT (SELECT min(r.key_id) FROM data.requests AS r WHERE r.key_id > k.key_id)
            FROM of_requests AS k WHERE k.key_id IS NOT NULL
        ), of_share_token AS (
            SELECT min(r.key_id) AS key_id FROM data.share_token AS r
            UNION ALL
            SELECT (SELECT min(r.key_id) FROM data.share_token AS r WHERE r.key_id > k.key_id)
            FROM of_share_token AS k WHERE k.key_id IS NOT NULL
        )
        SELECT k.key_id FROM of_requests AS k WHERE k.key_id <> ALL (missing_secret_keys.known)
        UNION
        SELECT k.key_id FROM of_share_token AS k WHERE k.key_id <> ALL (missing_secret_keys.known)
            -- A share that has ended is never opened again: its key may go.
            AND EXISTS (SELECT FROM data.share_token AS t
                JOIN data.healthcare_share AS s ON s.user_id = t.user_id AND s.id = t.share_id
                WHERE t.key_id = k.key_id AND s.revoked_at IS NULL AND s.expires_at > now());
    PERFORM set_config('data.looks_at_keys', '', true);
END
$$;
COMMENT ON FUNCTION data.missing_secret_keys(text[]) IS
    'The ids of the keys that stored hashes need, and that are not among the known ones.';

CREATE FUNCTION data.count_secret_keys() RETURNS TABLE (hash text, key_id text, count bigint)
    LANGUAGE plpgsql VOLATILE ROWS 8 SECURITY DEFINER SET search_path = ''
    AS $$
BEGIN
    PERFORM set_config('data.looks_at_keys', 'yes', true);
    RETURN QUERY
        SELECT 'requests.payload_mac', r.key_id, count(*) FROM data.requests AS r GROUP BY r.key_id
        UNION ALL
        -- Of shares that can be opened.
        SELECT 'share_token.token_hash', r.key_id, count(*) FROM data.share_token AS r
            JOIN data.healthcare_share AS s ON s.user_id = r.user_id AND s.id = r.share_id
            WHERE s.revoked_at IS NULL AND s.expires_at > now() GROUP BY r.key_id
        UNION ALL
        SELECT 'device_key.device_id_hash', r.key_id, count(*) FROM data.device_key AS r
            WHERE r.status <> 'revoked' GROUP BY r.key_id
        ORDER BY 1, 2;
    PERFORM set_config('data.looks_at_keys', '', true);
END
$$;
COMMENT ON FUNCTION data.count_secret_keys() IS 'How many stored hashes are under each key. Counts them all.';

GRANT EXECUTE ON FUNCTION data.missing_secret_keys(text[]), data.count_secret_keys() TO data_service;

-- A device is registered once, whichever key of the ring its hash is under: the device that was registered under an older key
-- gets the hash under the first one, and then the unique index decides. Called after the new device is stored, when the
-- person's counter is locked, so that no other registration of the person is under way.
CREATE POLICY device_key_rehash ON data.device_key FOR UPDATE TO data_owner
    USING (user_id = (SELECT auth.uid()) AND (SELECT current_setting('data.rehashes_installation', true)) = 'yes')
    WITH CHECK (user_id = (SELECT auth.uid()));
CREATE FUNCTION data.rehash_installation(hashes bytea[]) RETURNS void
    LANGUAGE plpgsql VOLATILE STRICT SECURITY DEFINER SET search_path = ''
    AS $$
BEGIN
    PERFORM set_config('data.rehashes_installation', 'yes', true);
    UPDATE data.device_key AS d SET device_id_hash = rehash_installation.hashes[1]
        WHERE d.user_id = auth.uid() AND d.status <> 'revoked'
            AND d.device_id_hash = ANY (rehash_installation.hashes[2:]);
    PERFORM set_config('data.rehashes_installation', '', true);
END
$$;
COMMENT ON FUNCTION data.rehash_installation(bytea[]) IS
    'Replaces the hash of the caller''s device that is under an older key: the hash under the first key, then the older ones.';
GRANT EXECUTE ON FUNCTION data.rehash_installation(bytea[]) TO data_user;

SET LOCAL row_security = on;
