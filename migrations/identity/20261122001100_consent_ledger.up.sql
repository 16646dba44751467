SET LOCAL row_security = off;

-- People agree to further documents, and withdraw. An entry is written once and withdrawn once; agreeing again is
-- another entry. No role may update one: withdrawing is a function, which finds only what stands.
CREATE UNIQUE INDEX consents_standing_key ON identity.consents (user_id, document, document_version)
    WHERE withdrawn_at IS NULL;

GRANT INSERT ON identity.consents TO identity_user;
CREATE POLICY consents_user_insert ON identity.consents FOR INSERT TO identity_user
    WITH CHECK (user_id = (SELECT auth.uid()));

CREATE POLICY consents_own_select ON identity.consents FOR SELECT TO identity_owner
    USING (user_id = (SELECT auth.uid()));
CREATE POLICY consents_own_update ON identity.consents FOR UPDATE TO identity_owner
    USING (user_id = (SELECT auth.uid())) WITH CHECK (user_id = (SELECT auth.uid()));
CREATE FUNCTION identity.withdraw_consent(consent uuid, at timestamptz) RETURNS boolean
    LANGUAGE plpgsql VOLATILE STRICT SECURITY DEFINER SET search_path = ''
    AS $$
BEGIN
    UPDATE identity.consents AS c SET withdrawn_at = withdraw_consent.at
        WHERE c.user_id = auth.uid() AND c.id = withdraw_consent.consent AND c.withdrawn_at IS NULL;
    RETURN FOUND;
END
$$;
COMMENT ON FUNCTION identity.withdraw_consent(uuid, timestamptz) IS
    'Withdraws a consent of the transaction''s person. False: there is none that stands.';
GRANT EXECUTE ON FUNCTION identity.withdraw_consent(uuid, timestamptz) TO identity_user;

SET LOCAL row_security = on;
