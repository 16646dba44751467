-- no-transaction
DROP INDEX CONCURRENTLY IF EXISTS identity.erasures_has_rows_idx;
