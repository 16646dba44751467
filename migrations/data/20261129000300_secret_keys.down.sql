SET LOCAL row_security = off;

-- Fails by the name of a check when hashes under another key than `k1` are stored: an older program could not use them.
DROP FUNCTION data.rehash_installation(bytea[]);
DROP POLICY device_key_rehash ON data.device_key;
DROP FUNCTION data.count_secret_keys();
DROP FUNCTION data.missing_secret_keys(text[]);
DROP POLICY healthcare_share_keys ON data.healthcare_share;
DROP POLICY requests_keys ON data.requests;
DROP INDEX data.requests_key_id_idx;
ALTER TABLE data.requests
    DROP COLUMN key_id,
    DROP CONSTRAINT requests_payload_mac_check,
    ADD CONSTRAINT requests_payload_mac_check CHECK (octet_length(payload_mac) = 32);
DROP POLICY share_token_keys ON data.share_token;
DROP INDEX data.share_token_key_id_idx;
ALTER TABLE data.share_token
    DROP COLUMN key_id,
    DROP CONSTRAINT share_token_token_hash_check,
    ADD CONSTRAINT share_token_token_hash_check CHECK (octet_length(token_hash) = 32);
DROP POLICY device_key_keys ON data.device_key;
ALTER TABLE data.device_key
    DROP COLUMN key_id,
    DROP CONSTRAINT device_key_device_id_hash_check,
    ADD CONSTRAINT device_key_device_id_hash_check CHECK (octet_length(device_id_hash) = 32);

SET LOCAL row_security = on;
