SET LOCAL row_security = off;

DROP FUNCTION identity.withdraw_consent(uuid, timestamptz);
DROP POLICY consents_own_update ON identity.consents;
DROP POLICY consents_own_select ON identity.consents;
DROP POLICY consents_user_insert ON identity.consents;
REVOKE INSERT ON identity.consents FROM identity_user;
DROP INDEX identity.consents_standing_key;

SET LOCAL row_security = on;
