SET LOCAL row_security = off;

-- What people's devices encrypt, and nothing here can decrypt: cycle records and preferences. The envelope says how
-- something was encrypted; each of its fields is a column with a constraint of its own, so that what the service let past
-- is refused here. The columns are written once, and the tables copy them with their constraints.
CREATE TABLE data.envelope (
    encrypted_payload bytea,
    envelope_version smallint,
    algorithm text,
    key_id uuid,
    key_version integer,
    nonce bytea,
    salt bytea,
    kdf_memory_kib integer,
    kdf_iterations integer,
    kdf_parallelism integer,
    associated_data_version smallint,
    -- All of it, or nothing of it: what is deleted has none.
    CONSTRAINT envelope_check CHECK (num_nulls(encrypted_payload, envelope_version, algorithm, key_id, key_version, nonce,
        salt, kdf_memory_kib, kdf_iterations, kdf_parallelism, associated_data_version) IN (0, 11)),
    -- An authentication tag at least. Of 40 random octets one is no ASCII; of 40 octets of text in English all are. To escape
    -- writes an octet above 127 as \2xx or \3xx, and a backslash as two: an odd number of them before a 2 or a 3 is one.
    CONSTRAINT envelope_encrypted_payload_check CHECK (octet_length(encrypted_payload) >= 16
        AND (octet_length(encrypted_payload) < 40
            OR encode(substr(encrypted_payload, 1, 256), 'escape') ~ '(^|[^\\])(\\\\)*\\[23]')),
    CONSTRAINT envelope_envelope_version_check CHECK (envelope_version = 1),
    CONSTRAINT envelope_algorithm_check CHECK (algorithm IN ('xchacha20_poly1305', 'aes_256_gcm')),
    CONSTRAINT envelope_key_version_check CHECK (key_version >= 1),
    CONSTRAINT envelope_nonce_check CHECK (octet_length(nonce)
        = CASE algorithm WHEN 'xchacha20_poly1305' THEN 24 WHEN 'aes_256_gcm' THEN 12 END),
    CONSTRAINT envelope_salt_check CHECK (octet_length(salt) BETWEEN 16 AND 64),
    -- The least is what OWASP asks of argon2id; the most is what a small device can still do.
    CONSTRAINT envelope_kdf_memory_kib_check CHECK (kdf_memory_kib BETWEEN 19456 AND 1048576),
    CONSTRAINT envelope_kdf_iterations_check CHECK (kdf_iterations BETWEEN 2 AND 64),
    CONSTRAINT envelope_kdf_parallelism_check CHECK (kdf_parallelism BETWEEN 1 AND 16),
    CONSTRAINT envelope_associated_data_version_check CHECK (associated_data_version = 1)
);

-- Every nonce under which something was kept, and what: two texts under one key and one nonce betray each other, whether or
-- not both are still there. So it is also what tells the same change, sent again, from another one: content_digest is equal,
-- and the answer is that of the first time. A change that was refused was kept nowhere, and leaves no nonce.
--
-- A deletion encrypts nothing. It is here to be known again: under key version 0, with the beginning of its digest as nonce.
CREATE TABLE data.envelope_nonces (
    user_id uuid NOT NULL,
    key_id uuid NOT NULL,
    key_version integer NOT NULL,
    nonce bytea NOT NULL,
    content_digest bytea NOT NULL,
    outcome text NOT NULL,
    version bigint NOT NULL,
    change_number bigint,
    conflict_id uuid,
    used_at timestamptz NOT NULL,
    CONSTRAINT envelope_nonces_pkey PRIMARY KEY (user_id, key_id, key_version, nonce),
    CONSTRAINT envelope_nonces_user_id_fkey FOREIGN KEY (user_id) REFERENCES data.users (id) ON DELETE CASCADE,
    CONSTRAINT envelope_nonces_key_version_check CHECK (key_version >= 0),
    CONSTRAINT envelope_nonces_content_digest_check CHECK (octet_length(content_digest) = 32),
    CONSTRAINT envelope_nonces_outcome_check CHECK (outcome IN ('applied', 'conflict', 'deleted'))
);
COMMENT ON TABLE data.envelope_nonces IS 'What each device changed, by the nonce that it used, and what came of it.';

ALTER TABLE data.envelope_nonces ENABLE ROW LEVEL SECURITY, FORCE ROW LEVEL SECURITY;

GRANT SELECT, INSERT ON data.envelope_nonces TO data_user;
CREATE POLICY envelope_nonces_user_select ON data.envelope_nonces FOR SELECT TO data_user
    USING (user_id = (SELECT auth.uid()));
CREATE POLICY envelope_nonces_user_insert ON data.envelope_nonces FOR INSERT TO data_user
    WITH CHECK (user_id = (SELECT auth.uid()));
CREATE POLICY envelope_nonces_owner_select ON data.envelope_nonces FOR SELECT TO data_owner
    USING (user_id = (SELECT auth.uid()));

-- Cycle records. A deleted one stays as a tombstone, without its content, for as long as a device has to be told.
--
-- There is no sync_status: a record reads 'conflict' while open_conflicts says so, and otherwise 'pending' or 'synced' by
-- what the devices have acknowledged, which changes for thousands of records at once. Nor is there a synced_at: that is
-- updated_at. Devices are never deleted but with their person, so the cascade reaches nothing else.
CREATE TABLE data.encrypted_cycle_data (
    user_id uuid NOT NULL,
    id uuid NOT NULL,
    LIKE data.envelope INCLUDING CONSTRAINTS,
    version bigint NOT NULL,
    device_id uuid NOT NULL,
    local_timestamp timestamptz NOT NULL,
    change_number bigint NOT NULL,
    open_conflicts integer NOT NULL DEFAULT 0,
    deleted_at timestamptz,
    created_at timestamptz NOT NULL,
    updated_at timestamptz NOT NULL,
    CONSTRAINT encrypted_cycle_data_pkey PRIMARY KEY (user_id, id),
    -- Also the order in which devices pull.
    CONSTRAINT encrypted_cycle_data_change_number_key UNIQUE (user_id, change_number),
    CONSTRAINT encrypted_cycle_data_user_id_fkey FOREIGN KEY (user_id) REFERENCES data.users (id) ON DELETE CASCADE,
    CONSTRAINT encrypted_cycle_data_device_id_fkey FOREIGN KEY (user_id, device_id)
        REFERENCES data.device_key (user_id, id) ON DELETE CASCADE,
    CONSTRAINT encrypted_cycle_data_payload_size_check CHECK (octet_length(encrypted_payload) <= 65536),
    -- A device encrypts under its own key.
    CONSTRAINT encrypted_cycle_data_key_id_check CHECK (key_id = device_id),
    CONSTRAINT encrypted_cycle_data_version_check CHECK (version >= 1),
    CONSTRAINT encrypted_cycle_data_change_number_check CHECK (change_number >= 1),
    CONSTRAINT encrypted_cycle_data_open_conflicts_check CHECK (open_conflicts >= 0),
    CONSTRAINT encrypted_cycle_data_deleted_check CHECK ((deleted_at IS NULL) = (encrypted_payload IS NOT NULL))
);
COMMENT ON TABLE data.encrypted_cycle_data IS 'Cycle records, which only their person''s devices can decrypt.';

-- In the order in which people list them; and what is kept too long.
CREATE INDEX encrypted_cycle_data_local_timestamp_idx ON data.encrypted_cycle_data (user_id, local_timestamp, id)
    WHERE deleted_at IS NULL;
CREATE INDEX encrypted_cycle_data_deleted_at_idx ON data.encrypted_cycle_data (deleted_at)
    WHERE deleted_at IS NOT NULL AND open_conflicts = 0;
CREATE INDEX encrypted_cycle_data_told_idx ON data.encrypted_cycle_data (user_id, change_number)
    WHERE deleted_at IS NOT NULL AND open_conflicts = 0;
-- For a device's rotation: what is still under its old keys.
CREATE INDEX encrypted_cycle_data_key_idx ON data.encrypted_cycle_data (user_id, key_id, key_version)
    WHERE deleted_at IS NULL;

ALTER TABLE data.encrypted_cycle_data ENABLE ROW LEVEL SECURITY, FORCE ROW LEVEL SECURITY;

GRANT SELECT, INSERT, UPDATE (encrypted_payload, envelope_version, algorithm, key_id, key_version, nonce, salt,
        kdf_memory_kib, kdf_iterations, kdf_parallelism, associated_data_version, version, device_id, local_timestamp,
        change_number, open_conflicts, deleted_at, updated_at)
    ON data.encrypted_cycle_data TO data_user;
CREATE POLICY encrypted_cycle_data_user_select ON data.encrypted_cycle_data FOR SELECT TO data_user
    USING (user_id = (SELECT auth.uid()));
CREATE POLICY encrypted_cycle_data_user_insert ON data.encrypted_cycle_data FOR INSERT TO data_user
    WITH CHECK (user_id = (SELECT auth.uid()));
CREATE POLICY encrypted_cycle_data_user_update ON data.encrypted_cycle_data FOR UPDATE TO data_user
    USING (user_id = (SELECT auth.uid())) WITH CHECK (user_id = (SELECT auth.uid()));
CREATE POLICY encrypted_cycle_data_owner_select ON data.encrypted_cycle_data FOR SELECT TO data_owner
    USING (user_id = (SELECT auth.uid()));

GRANT SELECT (user_id, id, algorithm, key_version, version, device_id, change_number, open_conflicts, deleted_at, created_at,
    updated_at) ON data.encrypted_cycle_data TO haven_readonly;
CREATE POLICY encrypted_cycle_data_readonly_select ON data.encrypted_cycle_data FOR SELECT TO haven_readonly USING (true);
CREATE VIEW data.cycle_record_metadata WITH (security_invoker = true) AS
    SELECT user_id, id, algorithm, key_version, version, device_id, change_number, open_conflicts, deleted_at, created_at,
        updated_at
    FROM data.encrypted_cycle_data;
GRANT SELECT ON data.cycle_record_metadata TO haven_readonly;

-- What lost a race: a change that somebody made without having seen the record's version. Without a payload it is a
-- deletion. It is kept until the person has settled it, and then until every device has been told. What it says is never
-- changed.
CREATE TABLE data.cycle_data_conflicts (
    user_id uuid NOT NULL,
    id uuid NOT NULL,
    record_id uuid NOT NULL,
    -- The version that it is based on. Its associated data has the next.
    base_version bigint NOT NULL,
    LIKE data.envelope INCLUDING CONSTRAINTS,
    device_id uuid NOT NULL,
    local_timestamp timestamptz NOT NULL,
    change_number bigint NOT NULL,
    created_at timestamptz NOT NULL,
    settled_at timestamptz,
    CONSTRAINT cycle_data_conflicts_pkey PRIMARY KEY (user_id, id),
    CONSTRAINT cycle_data_conflicts_change_number_key UNIQUE (user_id, change_number),
    CONSTRAINT cycle_data_conflicts_user_id_fkey FOREIGN KEY (user_id) REFERENCES data.users (id) ON DELETE CASCADE,
    CONSTRAINT cycle_data_conflicts_record_id_fkey FOREIGN KEY (user_id, record_id)
        REFERENCES data.encrypted_cycle_data (user_id, id) ON DELETE CASCADE,
    CONSTRAINT cycle_data_conflicts_device_id_fkey FOREIGN KEY (user_id, device_id)
        REFERENCES data.device_key (user_id, id) ON DELETE CASCADE,
    CONSTRAINT cycle_data_conflicts_payload_size_check CHECK (octet_length(encrypted_payload) <= 65536),
    CONSTRAINT cycle_data_conflicts_key_id_check CHECK (key_id = device_id),
    CONSTRAINT cycle_data_conflicts_base_version_check CHECK (base_version >= 0),
    CONSTRAINT cycle_data_conflicts_change_number_check CHECK (change_number >= 1)
);
COMMENT ON TABLE data.cycle_data_conflicts IS 'Changes of cycle records that lost a race, until they are settled.';

-- A record's, and those that are open, in the order in which they are listed; and what is kept too long.
CREATE INDEX cycle_data_conflicts_record_id_idx ON data.cycle_data_conflicts (user_id, record_id, change_number);
CREATE INDEX cycle_data_conflicts_open_idx ON data.cycle_data_conflicts (user_id, change_number)
    WHERE settled_at IS NULL;
CREATE INDEX cycle_data_conflicts_settled_at_idx ON data.cycle_data_conflicts (settled_at) WHERE settled_at IS NOT NULL;
CREATE INDEX cycle_data_conflicts_told_idx ON data.cycle_data_conflicts (user_id, change_number)
    WHERE settled_at IS NOT NULL;

ALTER TABLE data.cycle_data_conflicts ENABLE ROW LEVEL SECURITY, FORCE ROW LEVEL SECURITY;

GRANT SELECT, INSERT, UPDATE (change_number, settled_at) ON data.cycle_data_conflicts TO data_user;
CREATE POLICY cycle_data_conflicts_user_select ON data.cycle_data_conflicts FOR SELECT TO data_user
    USING (user_id = (SELECT auth.uid()));
CREATE POLICY cycle_data_conflicts_user_insert ON data.cycle_data_conflicts FOR INSERT TO data_user
    WITH CHECK (user_id = (SELECT auth.uid()));
CREATE POLICY cycle_data_conflicts_user_update ON data.cycle_data_conflicts FOR UPDATE TO data_user
    USING (user_id = (SELECT auth.uid())) WITH CHECK (user_id = (SELECT auth.uid()));
CREATE POLICY cycle_data_conflicts_owner_select ON data.cycle_data_conflicts FOR SELECT TO data_owner
    USING (user_id = (SELECT auth.uid()));

-- The ids of records whose tombstones are gone. One of them is never a record again: it would begin at version 1, and a
-- change that somebody made to the first one, and sends late, would overwrite the second as if it had been seen.
CREATE TABLE data.purged_records (
    user_id uuid NOT NULL,
    id uuid NOT NULL,
    CONSTRAINT purged_records_pkey PRIMARY KEY (user_id, id),
    CONSTRAINT purged_records_user_id_fkey FOREIGN KEY (user_id) REFERENCES data.users (id) ON DELETE CASCADE
);
COMMENT ON TABLE data.purged_records IS 'Ids of cycle records that were deleted, and of which nothing else is kept.';

ALTER TABLE data.purged_records ENABLE ROW LEVEL SECURITY, FORCE ROW LEVEL SECURITY;

GRANT SELECT ON data.purged_records TO data_user;
CREATE POLICY purged_records_user_select ON data.purged_records FOR SELECT TO data_user
    USING (user_id = (SELECT auth.uid()));
CREATE POLICY purged_records_owner_select ON data.purged_records FOR SELECT TO data_owner
    USING (user_id = (SELECT auth.uid()));
CREATE POLICY purged_records_owner_insert ON data.purged_records FOR INSERT TO data_owner
    WITH CHECK (user_id = (SELECT auth.uid()));

-- A person's preferences: one document, so its id is the person's. There is no synced_at: that is updated_at.
CREATE TABLE data.encrypted_user_prefs (
    user_id uuid NOT NULL,
    LIKE data.envelope INCLUDING CONSTRAINTS,
    version bigint NOT NULL,
    device_id uuid NOT NULL,
    created_at timestamptz NOT NULL,
    updated_at timestamptz NOT NULL,
    CONSTRAINT encrypted_user_prefs_pkey PRIMARY KEY (user_id),
    CONSTRAINT encrypted_user_prefs_user_id_fkey FOREIGN KEY (user_id) REFERENCES data.users (id) ON DELETE CASCADE,
    CONSTRAINT encrypted_user_prefs_device_id_fkey FOREIGN KEY (user_id, device_id)
        REFERENCES data.device_key (user_id, id) ON DELETE CASCADE,
    CONSTRAINT encrypted_user_prefs_encrypted_check CHECK (encrypted_payload IS NOT NULL),
    CONSTRAINT encrypted_user_prefs_payload_size_check CHECK (octet_length(encrypted_payload) <= 65536),
    CONSTRAINT encrypted_user_prefs_key_id_check CHECK (key_id = device_id),
    CONSTRAINT encrypted_user_prefs_version_check CHECK (version >= 1)
);
COMMENT ON TABLE data.encrypted_user_prefs IS 'People''s preferences, which only their devices can decrypt.';

ALTER TABLE data.encrypted_user_prefs ENABLE ROW LEVEL SECURITY, FORCE ROW LEVEL SECURITY;

GRANT SELECT, INSERT, UPDATE (encrypted_payload, envelope_version, algorithm, key_id, key_version, nonce, salt,
        kdf_memory_kib, kdf_iterations, kdf_parallelism, associated_data_version, version, device_id, updated_at)
    ON data.encrypted_user_prefs TO data_user;
CREATE POLICY encrypted_user_prefs_user_select ON data.encrypted_user_prefs FOR SELECT TO data_user
    USING (user_id = (SELECT auth.uid()));
CREATE POLICY encrypted_user_prefs_user_insert ON data.encrypted_user_prefs FOR INSERT TO data_user
    WITH CHECK (user_id = (SELECT auth.uid()));
CREATE POLICY encrypted_user_prefs_user_update ON data.encrypted_user_prefs FOR UPDATE TO data_user
    USING (user_id = (SELECT auth.uid())) WITH CHECK (user_id = (SELECT auth.uid()));
CREATE POLICY encrypted_user_prefs_owner_select ON data.encrypted_user_prefs FOR SELECT TO data_owner
    USING (user_id = (SELECT auth.uid()));

-- What a person shares with somebody who has no account: with a doctor, say. It is encrypted under a key that the server
-- never sees, and opened with a token (see the next table). There is no status: it follows from what is here, and
-- a share expires without anybody writing so. Nor is there a single_use, which is a max_access_count of 1, nor a
-- device_type, which is that of each attempt.
--
-- passcode_hash is an argon2id hash in the PHC format, and nobody selects it.
CREATE TABLE data.healthcare_share (
    user_id uuid NOT NULL,
    id uuid NOT NULL,
    LIKE data.envelope INCLUDING CONSTRAINTS,
    passcode_hash text,
    wrong_passcodes integer NOT NULL DEFAULT 0,
    expires_at timestamptz NOT NULL,
    max_access_count integer NOT NULL,
    access_count integer NOT NULL DEFAULT 0,
    refusal_count bigint NOT NULL DEFAULT 0,
    last_accessed_at timestamptz,
    revoked_at timestamptz,
    created_at timestamptz NOT NULL,
    CONSTRAINT healthcare_share_pkey PRIMARY KEY (user_id, id),
    CONSTRAINT healthcare_share_user_id_fkey FOREIGN KEY (user_id) REFERENCES data.users (id) ON DELETE CASCADE,
    CONSTRAINT healthcare_share_encrypted_check CHECK (encrypted_payload IS NOT NULL),
    CONSTRAINT healthcare_share_payload_size_check CHECK (octet_length(encrypted_payload) <= 262144),
    CONSTRAINT healthcare_share_passcode_hash_check CHECK (passcode_hash LIKE '$argon2id$v=19$%'),
    CONSTRAINT healthcare_share_wrong_passcodes_check CHECK (wrong_passcodes BETWEEN 0 AND 5),
    CONSTRAINT healthcare_share_expires_at_check CHECK (
        expires_at > created_at AND expires_at <= created_at + interval '90 days'),
    CONSTRAINT healthcare_share_max_access_count_check CHECK (max_access_count BETWEEN 1 AND 1000),
    CONSTRAINT healthcare_share_access_count_check CHECK (access_count BETWEEN 0 AND max_access_count)
);
COMMENT ON TABLE data.healthcare_share IS 'What people share: encrypted, for a time, and for a number of openings.';

CREATE INDEX healthcare_share_created_at_idx ON data.healthcare_share (user_id, created_at, id);

ALTER TABLE data.healthcare_share ENABLE ROW LEVEL SECURITY, FORCE ROW LEVEL SECURITY;

GRANT SELECT (user_id, id, encrypted_payload, envelope_version, algorithm, key_id, key_version, nonce, salt, kdf_memory_kib,
        kdf_iterations, kdf_parallelism, associated_data_version, wrong_passcodes, expires_at, max_access_count,
        access_count, refusal_count, last_accessed_at, revoked_at, created_at),
    INSERT, UPDATE (revoked_at)
    ON data.healthcare_share TO data_user;
CREATE POLICY healthcare_share_user_select ON data.healthcare_share FOR SELECT TO data_user
    USING (user_id = (SELECT auth.uid()));
-- Its key is one of its own: the nonces of a device's are forgotten with its rotations. And its time begins now, as far as
-- two clocks agree.
CREATE POLICY healthcare_share_user_insert ON data.healthcare_share FOR INSERT TO data_user
    WITH CHECK (user_id = (SELECT auth.uid()) AND created_at < now() + interval '1 minute'
        AND wrong_passcodes = 0 AND access_count = 0 AND refusal_count = 0 AND last_accessed_at IS NULL
        AND NOT EXISTS (SELECT FROM data.device_key AS d
            WHERE d.user_id = healthcare_share.user_id AND d.id = healthcare_share.key_id));
-- Revoked is for ever.
CREATE POLICY healthcare_share_user_update ON data.healthcare_share FOR UPDATE TO data_user
    USING (user_id = (SELECT auth.uid()) AND revoked_at IS NULL) WITH CHECK (user_id = (SELECT auth.uid()));
CREATE POLICY healthcare_share_owner_select ON data.healthcare_share FOR SELECT TO data_owner
    USING (user_id = (SELECT auth.uid()));
CREATE POLICY healthcare_share_owner_update ON data.healthcare_share FOR UPDATE TO data_owner
    USING (user_id = (SELECT auth.uid())) WITH CHECK (user_id = (SELECT auth.uid()));

GRANT SELECT (user_id, id, algorithm, wrong_passcodes, expires_at, max_access_count, access_count, refusal_count,
    last_accessed_at, revoked_at, created_at) ON data.healthcare_share TO haven_readonly;
CREATE POLICY healthcare_share_readonly_select ON data.healthcare_share FOR SELECT TO haven_readonly USING (true);
CREATE VIEW data.share_metadata WITH (security_invoker = true) AS
    SELECT user_id, id, algorithm, wrong_passcodes, expires_at, max_access_count, access_count, refusal_count,
        last_accessed_at, revoked_at, created_at
    FROM data.healthcare_share;
GRANT SELECT ON data.share_metadata TO haven_readonly;

-- What opens a share: a keyed hash of its token. Nobody selects it; a function looks one up. The index is over everybody,
-- and over 256 random bits: it betrays nothing. When it expires is the share's to say.
CREATE TABLE data.share_token (
    user_id uuid NOT NULL,
    share_id uuid NOT NULL,
    token_hash bytea NOT NULL,
    CONSTRAINT share_token_pkey PRIMARY KEY (user_id, share_id),
    CONSTRAINT share_token_token_hash_key UNIQUE (token_hash),
    CONSTRAINT share_token_user_id_fkey FOREIGN KEY (user_id) REFERENCES data.users (id) ON DELETE CASCADE,
    CONSTRAINT share_token_share_id_fkey FOREIGN KEY (user_id, share_id)
        REFERENCES data.healthcare_share (user_id, id) ON DELETE CASCADE,
    CONSTRAINT share_token_token_hash_check CHECK (octet_length(token_hash) = 32)
);
COMMENT ON TABLE data.share_token IS 'Keyed hashes of the tokens that open shares.';

ALTER TABLE data.share_token ENABLE ROW LEVEL SECURITY, FORCE ROW LEVEL SECURITY;

GRANT INSERT ON data.share_token TO data_user;
CREATE POLICY share_token_user_insert ON data.share_token FOR INSERT TO data_user
    WITH CHECK (user_id = (SELECT auth.uid()));
CREATE POLICY share_token_owner_select ON data.share_token FOR SELECT TO data_owner
    USING (user_id = (SELECT auth.uid()));
-- Who has a token is nobody yet: that it is in here says whose share it opens. The functions that look one up say which,
-- and see no other. Other roles may set the setting as they like: the policy does not bind them.
CREATE POLICY share_token_find ON data.share_token FOR SELECT TO data_owner
    USING (token_hash = (SELECT decode(nullif(current_setting('data.wanted_share_token', true), ''), 'hex')));

-- Every attempt to open a share. Nobody may change a row, or delete one but with the share's person.
CREATE TABLE data.healthcare_share_audit (
    user_id uuid NOT NULL,
    id uuid NOT NULL DEFAULT gen_random_uuid(),
    share_id uuid NOT NULL,
    accessed_at timestamptz NOT NULL,
    device_type text NOT NULL,
    outcome text NOT NULL,
    CONSTRAINT healthcare_share_audit_pkey PRIMARY KEY (user_id, id),
    CONSTRAINT healthcare_share_audit_user_id_fkey FOREIGN KEY (user_id) REFERENCES data.users (id) ON DELETE CASCADE,
    CONSTRAINT healthcare_share_audit_share_id_fkey FOREIGN KEY (user_id, share_id)
        REFERENCES data.healthcare_share (user_id, id) ON DELETE CASCADE,
    CONSTRAINT healthcare_share_audit_device_type_check CHECK (device_type IN ('mobile', 'desktop', 'unknown')),
    CONSTRAINT healthcare_share_audit_outcome_check CHECK (outcome IN (
        'opened', 'revoked', 'expired', 'used_up', 'locked', 'passcode_missing', 'passcode_wrong'))
);
COMMENT ON TABLE data.healthcare_share_audit IS 'Every attempt to open a share: append-only.';

-- In the order in which people see them.
CREATE INDEX healthcare_share_audit_accessed_at_idx
    ON data.healthcare_share_audit (user_id, share_id, accessed_at, id);

ALTER TABLE data.healthcare_share_audit ENABLE ROW LEVEL SECURITY, FORCE ROW LEVEL SECURITY;

GRANT SELECT ON data.healthcare_share_audit TO data_user, haven_readonly;
CREATE POLICY healthcare_share_audit_user_select ON data.healthcare_share_audit FOR SELECT TO data_user
    USING (user_id = (SELECT auth.uid()));
CREATE POLICY healthcare_share_audit_readonly_select ON data.healthcare_share_audit FOR SELECT TO haven_readonly
    USING (true);
CREATE POLICY healthcare_share_audit_owner_select ON data.healthcare_share_audit FOR SELECT TO data_owner
    USING (user_id = (SELECT auth.uid()));
CREATE POLICY healthcare_share_audit_owner_insert ON data.healthcare_share_audit FOR INSERT TO data_owner
    WITH CHECK (user_id = (SELECT auth.uid()));

-- It was there to be copied.
DROP TABLE data.envelope;

SET LOCAL row_security = on;
