SET LOCAL row_security = off;

DROP FUNCTION data.people_under(text, uuid, integer);
DROP FUNCTION data.count_seals();
DROP FUNCTION data.sealing_keys();
DROP POLICY analysis_results_seals ON data.analysis_results;
DROP POLICY conversations_seals ON data.conversations;
DROP INDEX data.analysis_results_key_id_idx;
DROP INDEX data.conversations_key_id_idx;

SET LOCAL row_security = on;
