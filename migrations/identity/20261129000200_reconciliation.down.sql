SET LOCAL row_security = off;

DROP FUNCTION identity.erase_again(uuid, text, timestamptz, timestamptz);
DROP FUNCTION identity.provision_again(uuid, timestamptz);
DROP POLICY erasures_service_select ON identity.erasures;
CREATE POLICY erasures_service_select ON identity.erasures FOR SELECT TO identity_service
    USING (user_id = (SELECT auth.uid()));

SET LOCAL row_security = on;
