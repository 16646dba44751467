-- oldest_binary: 20261129000100
-- Programs before this version serve from their own version of the schema only.
SET LOCAL row_security = off;

-- A program serves from a newer schema as long as this version is not newer than its own newest migration. A migration
-- that older programs cannot work with replaces the function.
CREATE FUNCTION data.oldest_binary() RETURNS bigint
    LANGUAGE sql IMMUTABLE PARALLEL SAFE SET search_path = ''
    RETURN 20261129000100;
COMMENT ON FUNCTION data.oldest_binary() IS
    'The newest migration of the oldest program that this schema allows.';
GRANT EXECUTE ON FUNCTION data.oldest_binary() TO data_app, data_worker;

SET LOCAL row_security = on;
