SET LOCAL row_security = off;

-- Fails by the name of a check when hashes under another key than `k1` are stored: an older program could not use them.
DROP FUNCTION identity.count_secret_keys();
DROP FUNCTION identity.missing_secret_keys(text[]);
DROP POLICY requests_keys ON identity.requests;
DROP INDEX identity.requests_key_id_idx;
ALTER TABLE identity.requests
    DROP COLUMN key_id,
    DROP CONSTRAINT requests_payload_mac_check,
    ADD CONSTRAINT requests_payload_mac_check CHECK (octet_length(payload_mac) = 32);
DROP POLICY refresh_tokens_keys ON identity.refresh_tokens;
DROP INDEX identity.refresh_tokens_key_id_idx;
ALTER TABLE identity.refresh_tokens
    DROP COLUMN key_id,
    DROP CONSTRAINT refresh_tokens_token_hash_check,
    ADD CONSTRAINT refresh_tokens_token_hash_check CHECK (octet_length(token_hash) = 32);
ALTER TABLE identity.security_audit_log
    DROP CONSTRAINT security_audit_log_network_mac_check,
    ADD CONSTRAINT security_audit_log_network_mac_check CHECK (octet_length(network_mac) = 32);

SET LOCAL row_security = on;
