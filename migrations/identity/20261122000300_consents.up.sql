SET LOCAL row_security = off;

-- Which document, in which version, a person has agreed to, and until when. No created_at, updated_at or
-- version: granted_at and withdrawn_at are when a row is made and when it changes.
CREATE TABLE identity.consents (
    user_id uuid NOT NULL,
    id uuid NOT NULL,
    document text NOT NULL,
    document_version text NOT NULL,
    granted_at timestamptz NOT NULL,
    withdrawn_at timestamptz,
    CONSTRAINT consents_pkey PRIMARY KEY (user_id, id),
    CONSTRAINT consents_user_id_fkey FOREIGN KEY (user_id) REFERENCES identity.users (id) ON DELETE CASCADE,
    CONSTRAINT consents_document_check CHECK (octet_length(document) BETWEEN 1 AND 64),
    CONSTRAINT consents_document_version_check CHECK (octet_length(document_version) BETWEEN 1 AND 64),
    CONSTRAINT consents_withdrawn_at_check CHECK (withdrawn_at >= granted_at)
);
COMMENT ON TABLE identity.consents IS 'Consents that a person has given, and withdrawn.';

ALTER TABLE identity.consents ENABLE ROW LEVEL SECURITY, FORCE ROW LEVEL SECURITY;

GRANT INSERT ON identity.consents TO identity_anon;
CREATE POLICY consents_anon_insert ON identity.consents FOR INSERT TO identity_anon
    WITH CHECK (user_id = (SELECT auth.uid()));

GRANT SELECT ON identity.consents TO identity_user;
CREATE POLICY consents_user_select ON identity.consents FOR SELECT TO identity_user
    USING (user_id = (SELECT auth.uid()));

SET LOCAL row_security = on;
