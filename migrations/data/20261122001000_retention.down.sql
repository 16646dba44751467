SET LOCAL row_security = off;

DROP FUNCTION data.sweep_requests(integer);
DROP INDEX data.requests_created_at_idx;
DROP POLICY requests_sweep_update ON data.requests;
DROP POLICY requests_sweep_delete ON data.requests;
DROP POLICY requests_sweep_select ON data.requests;

SET LOCAL row_security = on;
