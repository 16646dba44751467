SET LOCAL row_security = off;

-- The people that data knows of: the anchor of all their rows here, and nothing that says who they are. No
-- timestamp has a default anywhere: the services carry their own clock, and two clocks in one row disagree.
CREATE TABLE data.users (
    id uuid NOT NULL,
    created_at timestamptz NOT NULL,
    last_active_at timestamptz,
    CONSTRAINT users_pkey PRIMARY KEY (id)
);
COMMENT ON TABLE data.users IS 'People, provisioned by identity: minimal metadata, nothing else.';

ALTER TABLE data.users ENABLE ROW LEVEL SECURITY, FORCE ROW LEVEL SECURITY;

GRANT SELECT ON data.users TO data_user;
CREATE POLICY users_user_select ON data.users FOR SELECT TO data_user
    USING (id = (SELECT auth.uid()));

-- Provisioning: the service acts for one person at a time, whom the transaction carries. SELECT is what a
-- retry needs (ON CONFLICT (id) DO NOTHING), and shows that one person.
GRANT SELECT, INSERT ON data.users TO data_service;
CREATE POLICY users_service_select ON data.users FOR SELECT TO data_service
    USING (id = (SELECT auth.uid()));
CREATE POLICY users_service_insert ON data.users FOR INSERT TO data_service
    WITH CHECK (id = (SELECT auth.uid()));

-- What an operator may see of everybody. The view runs with its reader's rights; the column grant and the
-- policy are the wall, and the view is only the convenience.
GRANT SELECT (id, created_at, last_active_at) ON data.users TO haven_readonly;
CREATE POLICY users_readonly_select ON data.users FOR SELECT TO haven_readonly USING (true);
CREATE VIEW data.user_metadata WITH (security_invoker = true) AS
    SELECT id, created_at, last_active_at FROM data.users;
GRANT SELECT ON data.user_metadata TO haven_readonly;

SET LOCAL row_security = on;
