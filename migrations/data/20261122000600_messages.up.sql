SET LOCAL row_security = off;

-- What a person says is said by them alone, and what the coach or the product says by a service alone, which acts
-- for the person whom the transaction carries: it is another login, so neither can be taken for the other.
ALTER POLICY conversations_user_insert ON data.conversations
    WITH CHECK (user_id = (SELECT auth.uid()) AND sender_type = 'user');
GRANT INSERT ON data.conversations TO data_service;
CREATE POLICY conversations_service_insert ON data.conversations FOR INSERT TO data_service
    WITH CHECK (user_id = (SELECT auth.uid()) AND sender_type IN ('coach', 'system'));
GRANT SELECT, INSERT, UPDATE (last_number) ON data.conversation_counters TO data_service;
CREATE POLICY conversation_counters_service_select ON data.conversation_counters FOR SELECT TO data_service
    USING (user_id = (SELECT auth.uid()));
CREATE POLICY conversation_counters_service_insert ON data.conversation_counters FOR INSERT TO data_service
    WITH CHECK (user_id = (SELECT auth.uid()));
CREATE POLICY conversation_counters_service_update ON data.conversation_counters FOR UPDATE TO data_service
    USING (user_id = (SELECT auth.uid())) WITH CHECK (user_id = (SELECT auth.uid()));

-- A service's changes to a person's rows are remembered as the person's own are.
GRANT SELECT, INSERT ON data.requests TO data_service;
CREATE POLICY requests_service_select ON data.requests FOR SELECT TO data_service
    USING (user_id = (SELECT auth.uid()));
CREATE POLICY requests_service_insert ON data.requests FOR INSERT TO data_service
    WITH CHECK (user_id = (SELECT auth.uid()));

-- What a person said they can say otherwise, which seals it anew; whatever was said they can take back. Its number stays
-- used: the counter never goes down. What others said is written again only by a transaction that says that it changes
-- seals, when their key is changed.
GRANT UPDATE (message_text, key_id, updated_at, version), DELETE ON data.conversations TO data_user;
CREATE POLICY conversations_user_update ON data.conversations FOR UPDATE TO data_user
    USING (user_id = (SELECT auth.uid())
        AND (sender_type = 'user' OR (SELECT current_setting('data.changes_seals', true)) = 'yes'))
    WITH CHECK (user_id = (SELECT auth.uid()));
CREATE POLICY conversations_user_delete ON data.conversations FOR DELETE TO data_user
    USING (user_id = (SELECT auth.uid()));

SET LOCAL row_security = on;
