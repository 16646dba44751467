-- Selects the snapshot: one row for each object, as the page that it belongs to and a line. Every property that changes what
-- a role may do, or what a row may be, is in a line. A property that has its usual value is left out, so that the lines are
-- the same on every version of Postgres and short enough to review.
--
-- Bodies of functions are digests: the migrations have their text.
WITH ours AS (
    SELECT n.oid, n.nspname AS name, n.nspowner, n.nspacl FROM pg_namespace AS n
     WHERE n.nspname !~ '^(pg_|information_schema$)'
), roles AS (
    SELECT r.* FROM pg_roles AS r WHERE r.rolname ~ '^(identity|data|haven)_'
), relations AS (
    SELECT c.*, ours.name AS page, format('%I.%I', ours.name, c.relname) AS name
      FROM pg_class AS c JOIN ours ON ours.oid = c.relnamespace
     WHERE NOT EXISTS (SELECT FROM pg_depend
                        WHERE classid = 'pg_class'::regclass AND objid = c.oid AND deptype = 'e')
), lines (page, line) AS (
    -- The cluster and the database.
    SELECT 'cluster', format('role %I: %s', rolname, concat_ws(', ',
            CASE WHEN rolcanlogin THEN 'LOGIN' ELSE 'NOLOGIN' END, CASE WHEN rolinherit THEN 'INHERIT' ELSE 'NOINHERIT' END,
            CASE WHEN rolsuper THEN 'SUPERUSER' END, CASE WHEN rolbypassrls THEN 'BYPASSRLS' END,
            CASE WHEN rolcreaterole THEN 'CREATEROLE' END, CASE WHEN rolcreatedb THEN 'CREATEDB' END,
            CASE WHEN rolreplication THEN 'REPLICATION' END,
            CASE WHEN rolconnlimit <> -1 THEN 'CONNECTION LIMIT ' || rolconnlimit END,
            CASE WHEN rolvaliduntil IS NOT NULL THEN 'VALID UNTIL ' || rolvaliduntil END))
      FROM roles
    UNION ALL
    -- Since Postgres 16 an admin is a member of the roles that it created.
    SELECT 'cluster', format('role %I: member of %I%s', m.rolname, g.rolname,
            CASE WHEN a.admin_option THEN ' WITH ADMIN OPTION' ELSE '' END)
      FROM pg_auth_members AS a JOIN roles AS m ON m.oid = a.member JOIN pg_roles AS g ON g.oid = a.roleid
     WHERE m.rolname <> 'haven_admin'
    UNION ALL
    SELECT 'cluster', format('role %I: inherits from %I', m.rolname, g.rolname)
      FROM roles AS m, pg_roles AS g
     WHERE m.oid <> g.oid AND NOT m.rolsuper AND pg_has_role(m.oid, g.oid, 'USAGE') AND g.rolname !~ '^pg_'
    UNION ALL
    SELECT 'cluster', format('role %I: SET %s%s', pg_get_userbyid(s.setrole), setting,
            CASE WHEN s.setdatabase = 0 THEN '' ELSE ' in one database' END)
      FROM pg_db_role_setting AS s, unnest(s.setconfig) AS setting
     WHERE s.setrole IN (SELECT oid FROM roles)
        OR s.setdatabase = (SELECT oid FROM pg_database WHERE datname = current_database())
    UNION ALL
    SELECT 'cluster', format('database: owner %I; %s', pg_get_userbyid(datdba), pg_temp.privileges(datacl, 'd', datdba))
      FROM pg_database WHERE datname = current_database()
    UNION ALL
    -- Functions of the server with other privileges than the server gives.
    SELECT 'cluster', format('function %s: %s', p.oid::regprocedure, pg_temp.privileges(p.proacl, 'f', p.proowner))
      FROM pg_proc AS p LEFT JOIN pg_init_privs AS i
           ON i.classoid = 'pg_proc'::regclass AND i.objoid = p.oid AND i.objsubid = 0
     WHERE p.pronamespace = 'pg_catalog'::regnamespace AND p.proacl IS DISTINCT FROM i.initprivs
    UNION ALL
    SELECT 'cluster', format('language %I: %s', lanname, pg_temp.privileges(lanacl, 'l', lanowner))
      FROM pg_language WHERE lanpltrusted
    UNION ALL
    SELECT 'cluster', format('event trigger %I on %s', evtname, evtevent) FROM pg_event_trigger
    UNION ALL
    SELECT 'cluster', format('large object of %I: %s', pg_get_userbyid(lomowner), pg_temp.privileges(lomacl, 'L', lomowner))
      FROM pg_largeobject_metadata
    UNION ALL
    SELECT 'cluster', format('defaults of %I%s for %s: %s', pg_get_userbyid(defaclrole),
            CASE defaclnamespace WHEN 0 THEN '' ELSE ' in ' || defaclnamespace::regnamespace END,
            CASE defaclobjtype WHEN 'r' THEN 'tables' WHEN 'S' THEN 'sequences' WHEN 'f' THEN 'functions'
                WHEN 'T' THEN 'types' WHEN 'n' THEN 'schemas' ELSE defaclobjtype::text END,
            pg_temp.privileges(defaclacl, 'f', defaclrole))
      FROM pg_default_acl
    UNION ALL
    SELECT name, format('schema %I: owner %I; %s', name, pg_get_userbyid(nspowner), pg_temp.privileges(nspacl, 'n', nspowner))
      FROM ours WHERE name <> 'public'
    UNION ALL
    -- The owner of public differs between hosts.
    SELECT 'cluster', format('schema public: %s', (SELECT coalesce(string_agg(granted, ' '), 'none')
             FROM unnest(string_to_array(pg_temp.privileges(nspacl, 'n', nspowner), ' ')) AS granted
            WHERE granted NOT LIKE pg_get_userbyid(nspowner) || '=%'))
      FROM ours WHERE name = 'public'
    UNION ALL
    SELECT page, format('%s %s: owner %I%s; %s',
            CASE relkind WHEN 'r' THEN 'table' WHEN 'p' THEN 'partitioned table' WHEN 'v' THEN 'view'
                WHEN 'm' THEN 'materialized view' WHEN 'f' THEN 'foreign table' WHEN 'S' THEN 'sequence' ELSE relkind::text END,
            name, pg_get_userbyid(relowner),
            concat('', CASE WHEN relkind IN ('r', 'p') THEN CASE WHEN relrowsecurity THEN ', RLS' ELSE ', no RLS' END END,
                CASE WHEN relkind IN ('r', 'p') AND NOT relforcerowsecurity THEN ', not forced' END,
                CASE relpersistence WHEN 'u' THEN ', unlogged' END,
                CASE WHEN reloptions IS NOT NULL THEN ', ' || array_to_string(reloptions, ' ') END,
                CASE WHEN relreplident <> 'd' AND relkind = 'r' THEN ', replica identity ' || relreplident::text END),
            pg_temp.privileges(relacl, CASE relkind WHEN 'S' THEN 's' ELSE 'r' END::"char", relowner))
      FROM relations WHERE relkind NOT IN ('i', 'I', 't', 'c')
    UNION ALL
    SELECT page, format('%s.%I: %s%s%s', r.name, a.attname, format_type(a.atttypid, a.atttypmod),
            concat('', CASE WHEN a.attnotnull THEN ' NOT NULL' END,
                CASE WHEN a.attgenerated <> '' THEN ' GENERATED' WHEN d.oid IS NOT NULL THEN ' DEFAULT' END,
                ' ' || pg_get_expr(d.adbin, d.adrelid),
                CASE WHEN a.attidentity <> '' THEN ' IDENTITY' END,
                CASE WHEN a.attcollation <> t.typcollation THEN ' COLLATE ' || a.attcollation::regcollation END),
            CASE WHEN a.attacl IS NOT NULL THEN '; ' || pg_temp.privileges(a.attacl, 'c', r.relowner) ELSE '' END)
      FROM relations AS r JOIN pg_attribute AS a ON a.attrelid = r.oid AND a.attnum > 0 AND NOT a.attisdropped
           JOIN pg_type AS t ON t.oid = a.atttypid
           LEFT JOIN pg_attrdef AS d ON d.adrelid = r.oid AND d.adnum = a.attnum
     WHERE r.relkind IN ('r', 'p', 'v', 'm', 'f', 'c')
    UNION ALL
    SELECT page, format('policy %I on %s: %s %s to %s%s%s', p.polname, r.name,
            CASE WHEN p.polpermissive THEN 'permissive' ELSE 'restrictive' END,
            CASE p.polcmd WHEN 'r' THEN 'SELECT' WHEN 'a' THEN 'INSERT' WHEN 'w' THEN 'UPDATE' WHEN 'd' THEN 'DELETE'
                ELSE 'ALL' END,
            (SELECT string_agg(CASE role WHEN 0 THEN 'PUBLIC' ELSE pg_get_userbyid(role) END, ', '
                ORDER BY pg_get_userbyid(role) COLLATE "C") FROM unnest(p.polroles) AS role),
            ' USING ' || pg_get_expr(p.polqual, p.polrelid), ' WITH CHECK ' || pg_get_expr(p.polwithcheck, p.polrelid))
      FROM pg_policy AS p JOIN relations AS r ON r.oid = p.polrelid
    UNION ALL
    -- Postgres 18 has a constraint for each column that is NOT NULL. Columns have them above. Names of constraints of
    -- triggers and of domains are not used.
    SELECT page, format('constraint %I on %s: %s', k.conname, r.name,
            pg_get_constraintdef(k.oid) || CASE WHEN k.convalidated THEN '' ELSE ' (not validated)' END)
      FROM pg_constraint AS k JOIN relations AS r ON r.oid = k.conrelid
     WHERE k.contype <> 'n'
    UNION ALL
    SELECT page, format('index %s%s', pg_get_indexdef(i.indexrelid),
            CASE WHEN i.indisvalid AND i.indisready AND i.indislive THEN '' ELSE ' (not valid)' END)
      FROM pg_index AS i JOIN relations AS r ON r.oid = i.indrelid
    UNION ALL
    SELECT page, format('%s%s', pg_get_triggerdef(t.oid),
            CASE t.tgenabled WHEN 'O' THEN '' ELSE ' (enabled: ' || t.tgenabled::text || ')' END)
      FROM pg_trigger AS t JOIN relations AS r ON r.oid = t.tgrelid
     WHERE NOT t.tgisinternal
    UNION ALL
    -- The triggers of foreign keys: they can be disabled by themselves.
    SELECT page, format('constraint %I on %s: its triggers are not enabled as usual', k.conname, r.name)
      FROM pg_trigger AS t JOIN relations AS r ON r.oid = t.tgrelid JOIN pg_constraint AS k ON k.oid = t.tgconstraint
     WHERE t.tgisinternal AND t.tgenabled <> 'O'
    UNION ALL
    -- Until Postgres 15 each column has its table's name before it, and since 16 only where there are several tables.
    SELECT page, format('view %s: %s', r.name, regexp_replace(pg_get_viewdef(r.oid), '\m(?<!\.)(' || (
                SELECT string_agg(DISTINCT t.relname, '|') FROM pg_rewrite AS w JOIN pg_depend AS d
                       ON d.classid = 'pg_rewrite'::regclass AND d.objid = w.oid AND d.refclassid = 'pg_class'::regclass
                       JOIN pg_class AS t ON t.oid = d.refobjid AND t.oid <> r.oid
                 WHERE w.ev_class = r.oid) || ')\.', '', 'g'))
      FROM relations AS r WHERE r.relkind IN ('v', 'm')
    UNION ALL
    SELECT page, format('rule %I on %s: %s', w.rulename, r.name, pg_get_ruledef(w.oid))
      FROM pg_rewrite AS w JOIN relations AS r ON r.oid = w.ev_class
     WHERE w.rulename <> '_RETURN'
    UNION ALL
    SELECT ours.name, format('type %I.%I: owner %I; %s', ours.name, t.typname, pg_get_userbyid(t.typowner),
            pg_temp.privileges(t.typacl, 'T', t.typowner))
      FROM pg_type AS t JOIN ours ON ours.oid = t.typnamespace LEFT JOIN pg_class AS c ON c.oid = t.typrelid
     WHERE t.typtype IN ('c', 'd', 'e', 'r') AND coalesce(c.relkind, 'c') = 'c' AND ours.name <> 'public'
    UNION ALL
    -- A table has a type too. PUBLIC may use it unless the defaults of its owner take that away.
    SELECT ours.name, format('types of the tables of %I: %s', ours.name,
            string_agg(DISTINCT pg_temp.privileges(t.typacl, 'T', t.typowner), ' | '))
      FROM pg_type AS t JOIN ours ON ours.oid = t.typnamespace JOIN pg_class AS c ON c.oid = t.typrelid
     WHERE c.relkind IN ('r', 'v') AND ours.name <> 'public'
     GROUP BY ours.name
    UNION ALL
    SELECT ours.name, format('function %s: owner %I, %s%s; %s; returns %s; body %s', p.oid::regprocedure,
            pg_get_userbyid(p.proowner), l.lanname,
            concat('', CASE p.provolatile WHEN 'i' THEN ', immutable' WHEN 's' THEN ', stable' ELSE ', volatile' END,
                CASE WHEN p.prosecdef THEN ', SECURITY DEFINER' END, CASE WHEN p.proisstrict THEN ', strict' END,
                CASE WHEN p.proleakproof THEN ', LEAKPROOF' END,
                CASE p.proparallel WHEN 's' THEN ', parallel safe' WHEN 'r' THEN ', parallel restricted' END,
                CASE WHEN p.prokind <> 'f' THEN ', kind ' || p.prokind::text END,
                (SELECT string_agg(', SET ' || setting, '') FROM unnest(p.proconfig) AS setting),
                CASE WHEN p.pronargdefaults > 0
                    THEN ', defaults ' || coalesce(pg_get_expr(p.proargdefaults, 0), '') END),
            pg_temp.privileges(p.proacl, 'f', p.proowner), pg_get_function_result(p.oid),
            left(encode(sha256(convert_to(coalesce(pg_get_function_sqlbody(p.oid), p.prosrc), 'UTF8')), 'hex'), 16))
      FROM pg_proc AS p JOIN ours ON ours.oid = p.pronamespace JOIN pg_language AS l ON l.oid = p.prolang
     WHERE NOT EXISTS (SELECT FROM pg_depend
                        WHERE classid = 'pg_proc'::regclass AND objid = p.oid AND deptype = 'e')
)
SELECT CASE WHEN page IN ('identity', 'data') THEN page ELSE 'cluster' END AS page, regexp_replace(line, '\s+', ' ', 'g') AS line
  FROM lines ORDER BY page COLLATE "C", line COLLATE "C"
