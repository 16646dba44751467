SET LOCAL row_security = off;

-- How many messages a person has written so far: counts are kept, never counted. The row is locked by whoever
-- appends, so that numbers have no gaps and become visible in order.
CREATE TABLE data.conversation_counters (
    user_id uuid NOT NULL,
    last_number bigint NOT NULL,
    CONSTRAINT conversation_counters_pkey PRIMARY KEY (user_id),
    -- An append for somebody who has not been provisioned yet fails here, by this name.
    CONSTRAINT conversation_counters_user_id_fkey
        FOREIGN KEY (user_id) REFERENCES data.users (id) ON DELETE CASCADE,
    CONSTRAINT conversation_counters_last_number_check CHECK (last_number >= 0)
);
COMMENT ON TABLE data.conversation_counters IS 'The number of each person''s newest message.';

ALTER TABLE data.conversation_counters ENABLE ROW LEVEL SECURITY, FORCE ROW LEVEL SECURITY;

-- UPDATE of the one column: on the whole table it would be the right to LOCK it, and everybody else out.
GRANT SELECT, INSERT, UPDATE (last_number) ON data.conversation_counters TO data_user;
CREATE POLICY conversation_counters_user_select ON data.conversation_counters FOR SELECT TO data_user
    USING (user_id = (SELECT auth.uid()));
CREATE POLICY conversation_counters_user_insert ON data.conversation_counters FOR INSERT TO data_user
    WITH CHECK (user_id = (SELECT auth.uid()));
CREATE POLICY conversation_counters_user_update ON data.conversation_counters FOR UPDATE TO data_user
    USING (user_id = (SELECT auth.uid())) WITH CHECK (user_id = (SELECT auth.uid()));

-- Messages. created_at is the message's timestamp.
CREATE TABLE data.conversations (
    user_id uuid NOT NULL,
    id uuid NOT NULL,
    number bigint NOT NULL,
    sender_type text NOT NULL,
    message_text text NOT NULL,
    key_id text NOT NULL,
    created_at timestamptz NOT NULL,
    updated_at timestamptz NOT NULL,
    version bigint NOT NULL DEFAULT 1,
    CONSTRAINT conversations_pkey PRIMARY KEY (user_id, id),
    -- Also the order in which a conversation is listed.
    CONSTRAINT conversations_number_key UNIQUE (user_id, number),
    CONSTRAINT conversations_user_id_fkey FOREIGN KEY (user_id) REFERENCES data.users (id) ON DELETE CASCADE,
    CONSTRAINT conversations_number_check CHECK (number >= 1),
    CONSTRAINT conversations_sender_type_check CHECK (sender_type IN ('user', 'coach', 'system')),
    -- Every Fernet token begins like this (version 0x80, and the high bytes of the time): a text that
    -- somebody forgot to seal cannot be stored.
    CONSTRAINT conversations_message_text_check CHECK (message_text LIKE 'gAAAA%'),
    CONSTRAINT conversations_key_id_check CHECK (octet_length(key_id) BETWEEN 1 AND 64),
    CONSTRAINT conversations_version_check CHECK (version >= 1)
);
COMMENT ON TABLE data.conversations IS 'Coaching conversations: each person''s messages, sealed.';

ALTER TABLE data.conversations ENABLE ROW LEVEL SECURITY, FORCE ROW LEVEL SECURITY;

GRANT SELECT, INSERT ON data.conversations TO data_user;
CREATE POLICY conversations_user_select ON data.conversations FOR SELECT TO data_user
    USING (user_id = (SELECT auth.uid()));
CREATE POLICY conversations_user_insert ON data.conversations FOR INSERT TO data_user
    WITH CHECK (user_id = (SELECT auth.uid()));

GRANT SELECT (user_id, id, number, sender_type, key_id, created_at, updated_at, version)
    ON data.conversations TO haven_readonly;
CREATE POLICY conversations_readonly_select ON data.conversations FOR SELECT TO haven_readonly USING (true);
CREATE VIEW data.conversation_metadata WITH (security_invoker = true) AS
    SELECT user_id, id, number, sender_type, key_id, created_at, updated_at, version FROM data.conversations;
GRANT SELECT ON data.conversation_metadata TO haven_readonly;

SET LOCAL row_security = on;
