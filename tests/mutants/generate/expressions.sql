-- Selects the texts that are changed in every way that `expression.rs` knows: the kind of the text, its subject, its table
-- ('' for none), its role ('' for all), the statement that stores a changed text in place of {}, and the text.
WITH tables AS (
    SELECT c.oid, format('%I.%I', n.nspname, c.relname) AS name
      FROM pg_class AS c JOIN pg_namespace AS n ON n.oid = c.relnamespace
     WHERE n.nspname IN ('identity', 'data') AND c.relkind = 'r'
), checking AS (
    -- The functions of CHECKs, each with one of the tables that it is for.
    SELECT p.oid, p.proname, p.prosrc, min(t.name) AS name
      FROM pg_depend AS d JOIN pg_proc AS p ON d.refclassid = 'pg_proc'::regclass AND d.refobjid = p.oid
           JOIN pg_constraint AS k ON d.classid = 'pg_constraint'::regclass AND d.objid = k.oid AND k.contype = 'c'
           JOIN tables AS t ON t.oid = k.conrelid
     GROUP BY p.oid
), texts (kind, subject, relation, role, template, expression) AS (
    SELECT 'policy ' || clause, format('%s of %I on %s', clause, p.polname, t.name), t.name,
           CASE WHEN cardinality(p.polroles) = 1 THEN pg_get_userbyid(p.polroles[1]) ELSE '' END,
           format('ALTER POLICY %I ON %s %s ({})', p.polname, t.name, clause), expression
      FROM pg_policy AS p JOIN tables AS t ON t.oid = p.polrelid,
           LATERAL (VALUES ('USING', pg_get_expr(p.polqual, p.polrelid)), ('WITH CHECK', pg_get_expr(p.polwithcheck, p.polrelid)))
               AS clauses (clause, expression)
     WHERE expression IS NOT NULL
    UNION ALL
    SELECT 'CHECK', format('%I on %s', k.conname, t.name), t.name, '',
           format('ALTER TABLE %s DROP CONSTRAINT %I, ADD CONSTRAINT %I CHECK ({})', t.name, k.conname, k.conname),
           pg_get_expr(k.conbin, k.conrelid)
      FROM pg_constraint AS k JOIN tables AS t ON t.oid = k.conrelid
     WHERE k.contype = 'c'
    UNION ALL
    SELECT 'index predicate', i.indexrelid::regclass::text, t.name, '',
           format('DROP INDEX %s; %s WHERE ({})', i.indexrelid::regclass,
               split_part(pg_get_indexdef(i.indexrelid), ' WHERE ', 1)),
           pg_get_expr(i.indpred, i.indrelid)
      FROM pg_index AS i JOIN tables AS t ON t.oid = i.indrelid
     WHERE i.indpred IS NOT NULL AND i.indisunique
    UNION ALL
    -- The rules are the branches of the one CASE that ends a line.
    SELECT 'CHECK function', format('%I for %s', p.proname, p.name), p.name, '',
           split_part(pg_get_functiondef(p.oid), '$function$', 1) || '$function$' || split_part(p.prosrc, E' CASE\n', 1)
               || E' CASE\n{}\n    END;\n' || split_part(p.prosrc, E'\n    END;\n', 2) || '$function$',
           split_part(split_part(p.prosrc, E' CASE\n', 2), E'\n    END;\n', 1)
      FROM checking AS p
    UNION ALL
    SELECT 'body', p.oid::regprocedure::text, '', '', split_part(pg_get_functiondef(p.oid), '$function$', 1) || '$function${}$function$',
           p.prosrc
      FROM pg_proc AS p JOIN pg_namespace AS n ON n.oid = p.pronamespace JOIN pg_language AS l ON l.oid = p.prolang
     WHERE n.nspname IN ('identity', 'data') AND l.lanname = 'plpgsql' AND p.oid NOT IN (SELECT oid FROM checking)
)
SELECT kind, subject, relation, role, template, expression FROM texts ORDER BY kind COLLATE "C", subject COLLATE "C"
