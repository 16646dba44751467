-- oldest_binary: 20261129000100
SET LOCAL row_security = off;

-- The secret of keyed hashes is a ring of keys, so a stored hash names the key that made it: its 32 bytes are followed by the
-- id of the key, 1 to 8 characters. Hashes without an id are under the key `k1`: those from before this migration, and those
-- of a ring whose first key has this id. So a program that knows of no ring reads and writes the same rows.
--
-- key_id is the id as text, for the indexes by which a service finds at start which keys are needed.

ALTER TABLE identity.requests
    DROP CONSTRAINT requests_payload_mac_check,
    ADD CONSTRAINT requests_payload_mac_check CHECK (octet_length(payload_mac) BETWEEN 32 AND 40),
    ADD COLUMN key_id text NOT NULL GENERATED ALWAYS AS (coalesce(nullif(encode(substr(payload_mac, 33), 'escape'), ''), 'k1')) STORED;
CREATE INDEX requests_key_id_idx ON identity.requests (key_id, user_id);
CREATE POLICY requests_keys ON identity.requests FOR SELECT TO identity_owner
    USING ((SELECT current_setting('identity.looks_at_keys', true)) = 'yes');

ALTER TABLE identity.refresh_tokens
    DROP CONSTRAINT refresh_tokens_token_hash_check,
    ADD CONSTRAINT refresh_tokens_token_hash_check CHECK (octet_length(token_hash) BETWEEN 32 AND 40),
    ADD COLUMN key_id text NOT NULL GENERATED ALWAYS AS (coalesce(nullif(encode(substr(token_hash, 33), 'escape'), ''), 'k1')) STORED;
CREATE INDEX refresh_tokens_key_id_idx ON identity.refresh_tokens (key_id, user_id);
CREATE POLICY refresh_tokens_keys ON identity.refresh_tokens FOR SELECT TO identity_owner
    USING ((SELECT current_setting('identity.looks_at_keys', true)) = 'yes');

-- Only to be compared by people: no program looks one up.
ALTER TABLE identity.security_audit_log
    DROP CONSTRAINT security_audit_log_network_mac_check,
    ADD CONSTRAINT security_audit_log_network_mac_check CHECK (octet_length(network_mac) BETWEEN 32 AND 40);

-- The functions below run as the owner, and say that they look at keys. The setting shows another role nothing: the policies
-- are the owner's.
CREATE FUNCTION identity.missing_secret_keys(known text[]) RETURNS SETOF text
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
        )
        SELECT k.key_id FROM of_requests AS k WHERE k.key_id <> ALL (missing_secret_keys.known)
        UNION
        SELECT k.key_id FROM of_refresh_tokens AS k WHERE k.key_id <> ALL (missing_secret_keys.known);
    PERFORM set_config('identity.looks_at_keys', '', true);
END
$$;
COMMENT ON FUNCTION identity.missing_secret_keys(text[]) IS
    'The ids of the keys that stored hashes need, and that are not among the known ones.';

CREATE FUNCTION identity.count_secret_keys() RETURNS TABLE (hash text, key_id text, count bigint)
    LANGUAGE plpgsql VOLATILE ROWS 8 SECURITY DEFINER SET search_path = ''
    AS $$
BEGIN
    PERFORM set_config('identity.looks_at_keys', 'yes', true);
    RETURN QUERY
        SELECT 'requests.payload_mac', r.key_id, count(*) FROM identity.requests AS r GROUP BY r.key_id
        UNION ALL
        SELECT 'refresh_tokens.token_hash', r.key_id, count(*) FROM identity.refresh_tokens AS r GROUP BY r.key_id
        ORDER BY 1, 2;
    PERFORM set_config('identity.looks_at_keys', '', true);
END
$$;
COMMENT ON FUNCTION identity.count_secret_keys() IS 'How many stored hashes are under each key. Counts them all.';

GRANT EXECUTE ON FUNCTION identity.missing_secret_keys(text[]), identity.count_secret_keys() TO identity_service;

SET LOCAL row_security = on;
