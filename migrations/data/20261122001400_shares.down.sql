SET LOCAL row_security = off;

DROP FUNCTION data.healthcare_access_audit(uuid, timestamptz, uuid, integer);
DROP FUNCTION data.validate_share_token(bytea, text, text, timestamptz);
DROP FUNCTION data.share_passcode_recipe(bytea);
REVOKE USAGE ON SCHEMA data FROM data_anon;

SET LOCAL row_security = on;
