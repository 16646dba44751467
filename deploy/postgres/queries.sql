-- The statements that cost most, and how their tables are read: psql -f deploy/postgres/queries.sql, as haven_monitor.
--
-- Statements carry the name of the RPC that they serve: WITH /* AppendMessage */ … pg_stat_statements keeps that comment.
-- Only the name is shown, never the text of a statement. Statements of equal text share the name that came first. All
-- numbers count from the last reset, as a superuser: SELECT pg_stat_statements_reset(), pg_stat_reset().

-- Statements by name and role. share_percent is the share of the time of all statements. Many blocks (of 8 KiB) for few
-- rows mean that no index serves the statement. whole_tables names the tables in it that were read from end to end, by
-- any statement, with the mean number of rows, where that is 1,000 or more.
WITH scans AS (
    SELECT format('%s.%s', schemaname, relname) AS name, seq_tup_read / seq_scan AS rows_per_scan
      FROM pg_catalog.pg_stat_user_tables
     WHERE schemaname IN ('identity', 'data') AND seq_scan > 0 AND seq_tup_read / seq_scan >= 1000
), statements AS (
    SELECT substring(s.query FROM
               '^\s*(?:[[:alpha:]]+\s+)?/\*\s*([[:alpha:]][[:alpha:]., '']{0,60})\*/') AS name,
           s.userid, s.calls, s.total_exec_time, s.rows, s.shared_blks_hit + s.shared_blks_read AS blocks,
           (SELECT string_agg(format('%s (%s rows)', c.name, c.rows_per_scan), ', ' ORDER BY c.name)
              FROM scans c
             -- In the statement, or in the functions of Haven that it calls.
             WHERE concat_ws(' ', s.query, f.bodies) ~ ('\m' || replace(c.name, '.', '\.') || '\M')) AS whole_tables
      FROM pg_stat_statements s LEFT JOIN LATERAL (
               SELECT string_agg(p.prosrc, ' ') AS bodies
                 FROM pg_catalog.pg_proc p JOIN pg_catalog.pg_namespace n ON n.oid = p.pronamespace
                WHERE n.nspname IN ('identity', 'data') AND strpos(s.query, format('%s.%s(', n.nspname, p.proname)) > 0
           ) f ON true
     WHERE s.dbid = (SELECT d.oid FROM pg_catalog.pg_database d WHERE d.datname = current_database())
), totals AS (
    SELECT coalesce(rtrim(name), '(no name)') AS statement, pg_catalog.pg_get_userbyid(userid)::text AS role,
           sum(calls)::float8 AS calls, sum(total_exec_time) AS ms, sum(rows)::float8 AS rows,
           sum(blocks)::float8 AS blocks, coalesce(string_agg(DISTINCT whole_tables, ', '), '') AS whole_tables
      FROM statements
     GROUP BY 1, 2
)
SELECT statement, role, calls::int8,
       round((100 * ms / greatest(sum(ms) OVER (), 1e-9))::numeric, 1)::float8 AS share_percent,
       round(ms::numeric, 1)::float8 AS total_ms,
       round((ms / calls)::numeric, 3)::float8 AS mean_ms,
       round((rows / calls)::numeric, 1)::float8 AS rows_per_call,
       round((blocks / calls)::numeric, 1)::float8 AS blocks_per_call,
       whole_tables
  FROM totals
 ORDER BY ms DESC, statement, role;

-- Tables, and how their rows were reached. A sequential scan reads a table from end to end, which is right for a small
-- table, and for a dump. cached_percent is the share of blocks that were in Postgres' own memory.
SELECT format('%s.%s', t.schemaname, t.relname) AS table_name,
       t.n_live_tup::int8 AS live_rows,
       t.n_dead_tup::int8 AS dead_rows,
       coalesce(t.idx_scan, 0)::int8 AS index_scans,
       t.seq_scan::int8 AS sequential_scans,
       coalesce(t.seq_tup_read / nullif(t.seq_scan, 0), 0)::int8 AS rows_per_sequential_scan,
       coalesce(round(100 * io.heap_blks_hit::numeric / nullif(io.heap_blks_hit + io.heap_blks_read, 0), 1), 100)::float8
           AS cached_percent
  FROM pg_catalog.pg_stat_user_tables t JOIN pg_catalog.pg_statio_user_tables io USING (relid)
 WHERE t.schemaname IN ('identity', 'data')
 ORDER BY t.seq_tup_read DESC, table_name;
