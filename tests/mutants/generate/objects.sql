-- Selects changes of whole objects: what was dropped, granted, disabled or given away. Each row is the kind of the change,
-- its subject, the table that it is about ('' for none), the role that it is about ('' for all), and the statements that apply
-- it as a superuser with an empty search_path.
WITH ours AS (
    SELECT n.oid, n.nspname AS name, n.nspowner AS owner, n.nspacl AS acl FROM pg_namespace AS n
     WHERE n.nspname IN ('identity', 'data', 'auth')
), relations AS (
    SELECT c.*, ours.name AS schema, format('%I.%I', ours.name, c.relname) AS name
      FROM pg_class AS c JOIN ours ON ours.oid = c.relnamespace
     WHERE c.relkind IN ('r', 'v')
), tables AS (
    SELECT * FROM relations WHERE relkind = 'r'
), people (role) AS (
    -- The roles that requests and workers use, and PUBLIC.
    VALUES ('identity_anon'), ('identity_user'), ('identity_service'), ('data_anon'), ('data_user'), ('data_service'),
        ('identity_app'), ('identity_worker'), ('data_app'), ('data_worker'), ('haven_readonly'), ('haven_backup'),
        ('haven_monitor'), ('PUBLIC')
), functions AS (
    SELECT p.*, p.oid::regprocedure::text AS name, ours.name AS schema
      FROM pg_proc AS p JOIN ours ON ours.oid = p.pronamespace
), policies AS (
    SELECT p.*, format('%I', p.polname) AS policy, t.name AS name,
           CASE p.polcmd WHEN 'r' THEN 'SELECT' WHEN 'a' THEN 'INSERT' WHEN 'w' THEN 'UPDATE' WHEN 'd' THEN 'DELETE'
               ELSE 'ALL' END AS command,
           (SELECT string_agg(CASE role WHEN 0 THEN 'PUBLIC' ELSE quote_ident(pg_get_userbyid(role)) END, ', ')
              FROM unnest(p.polroles) AS role) AS roles,
           CASE WHEN cardinality(p.polroles) = 1 THEN pg_get_userbyid(p.polroles[1]) ELSE '' END AS role,
           concat(' USING (' || pg_get_expr(p.polqual, p.polrelid) || ')',
               ' WITH CHECK (' || pg_get_expr(p.polwithcheck, p.polrelid) || ')') AS conditions
      FROM pg_policy AS p JOIN tables AS t ON t.oid = p.polrelid
), constraints AS (
    SELECT k.*, format('%I', k.conname) AS constraint_name, t.name AS name, pg_get_constraintdef(k.oid) AS definition
      FROM pg_constraint AS k JOIN tables AS t ON t.oid = k.conrelid
     WHERE k.contype <> 'n'
), grants AS (
    -- Every entry of an access control list, with the words of GRANT for its object.
    SELECT 'TABLE ' || r.name AS object, r.name AS table_name, a.*, r.relowner AS owner, '' AS columns
      FROM relations AS r, aclexplode(coalesce(r.relacl, acldefault('r', r.relowner))) AS a
    UNION ALL
    SELECT 'TABLE ' || r.name, r.name, a.*, r.relowner, format(' (%I)', c.attname)
      FROM relations AS r JOIN pg_attribute AS c ON c.attrelid = r.oid AND c.attnum > 0, aclexplode(c.attacl) AS a
    UNION ALL
    SELECT 'FUNCTION ' || f.name, '', a.*, f.proowner, ''
      FROM functions AS f, aclexplode(coalesce(f.proacl, acldefault('f', f.proowner))) AS a
    UNION ALL
    SELECT format('SCHEMA %I', ours.name), '', a.*, ours.owner, ''
      FROM ours, aclexplode(coalesce(ours.acl, acldefault('n', ours.owner))) AS a
    UNION ALL
    SELECT format('DATABASE %I', datname), '', a.*, datdba, ''
      FROM pg_database, aclexplode(coalesce(datacl, acldefault('d', datdba))) AS a
     WHERE datname = current_database()
    UNION ALL
    SELECT 'TYPE ' || t.oid::regtype, '', a.*, t.typowner, ''
      FROM pg_type AS t JOIN ours ON ours.oid = t.typnamespace JOIN pg_class AS c ON c.oid = t.typrelid,
           aclexplode(coalesce(t.typacl, acldefault('T', t.typowner))) AS a
     WHERE c.relkind = 'c'
), changes (kind, subject, relation, role, apply) AS (
    -- Policies.
    SELECT 'policy dropped', policy || ' on ' || name, name, role, format('DROP POLICY %s ON %s', policy, name) FROM policies
    UNION ALL
    SELECT CASE WHEN polpermissive THEN 'policy made restrictive' ELSE 'policy made permissive' END,
           policy || ' on ' || name, name, role,
           format('DROP POLICY %1$s ON %2$s; CREATE POLICY %1$s ON %2$s AS %3$s FOR %4$s TO %5$s%6$s', policy, name,
               CASE WHEN polpermissive THEN 'RESTRICTIVE' ELSE 'PERMISSIVE' END, command, roles, conditions)
      FROM policies
    UNION ALL
    SELECT 'policy for PUBLIC', policy || ' on ' || name, name, '', format('ALTER POLICY %s ON %s TO PUBLIC', policy, name)
      FROM policies
    UNION ALL
    SELECT 'policy added', command || ' on ' || name, name, '',
           format('CREATE POLICY added ON %s FOR %s TO PUBLIC%s%s', name, command,
               CASE WHEN command <> 'INSERT' THEN ' USING (true)' END,
               CASE WHEN command IN ('INSERT', 'UPDATE') THEN ' WITH CHECK (true)' END)
      FROM tables, unnest(ARRAY['SELECT', 'INSERT', 'UPDATE', 'DELETE']) AS command
    UNION ALL
    SELECT 'RLS disabled', name, name, '', format('ALTER TABLE %s DISABLE ROW LEVEL SECURITY', name) FROM tables
    UNION ALL
    SELECT 'RLS not forced', name, name, '', format('ALTER TABLE %s NO FORCE ROW LEVEL SECURITY', name) FROM tables
    UNION ALL
    -- Grants.
    SELECT CASE WHEN grantee = owner THEN 'own privilege revoked' ELSE 'grant revoked' END,
           format('%s%s on %s from %s', privilege_type, columns, object, grantee::regrole), table_name,
           grantee::regrole::text,
           format('REVOKE %s%s ON %s FROM %s CASCADE', privilege_type, columns, object,
               CASE grantee WHEN 0 THEN 'PUBLIC' ELSE grantee::regrole::text END)
      FROM grants WHERE grantee <> 0
    UNION ALL
    SELECT 'grant option added', format('%s%s on %s to %s', privilege_type, columns, object, grantee::regrole), table_name,
           grantee::regrole::text,
           format('GRANT %s%s ON %s TO %s WITH GRANT OPTION', privilege_type, columns, object, grantee::regrole)
      FROM grants WHERE grantee <> owner AND grantee <> 0
    UNION ALL
    SELECT 'grant added', format('%s on %s to %s', privilege, name, people.role), name,
           CASE people.role WHEN 'PUBLIC' THEN '' ELSE people.role END,
           format('GRANT %s ON TABLE %s TO %s', privilege, name, people.role)
      FROM relations, people,
           unnest(ARRAY['SELECT', 'INSERT', 'UPDATE', 'DELETE', 'TRUNCATE', 'REFERENCES', 'TRIGGER']) AS privilege
     WHERE (relkind = 'r' OR privilege = 'SELECT')
       AND (people.role = 'PUBLIC' OR (NOT has_table_privilege(people.role, relations.oid, privilege)
            -- The roles of the schema, and one of the other.
            AND (split_part(people.role, '_', 1) = schema OR people.role IN ('haven_readonly')
                OR (privilege = 'SELECT' AND people.role ~ '_user$'))))
    UNION ALL
    SELECT 'grant of a column added', format('%s of %I on %s to %s', privilege, attname, name, people.role), name, people.role,
           format('GRANT %s (%I) ON TABLE %s TO %s', privilege, attname, name, people.role)
      FROM tables JOIN pg_attribute ON attrelid = tables.oid AND attnum > 0 AND NOT attisdropped, people,
           unnest(ARRAY['SELECT', 'UPDATE', 'REFERENCES']) AS privilege
     WHERE people.role IN (schema || '_user', 'haven_readonly') AND (people.role ~ '_user$' OR privilege = 'SELECT')
       AND NOT has_column_privilege(people.role, tables.oid, attnum, privilege)
       AND (privilege <> 'REFERENCES' OR attnum = 1)
    UNION ALL
    SELECT 'grant of a function added', format('EXECUTE on %s to %s', name, people.role), '',
           CASE people.role WHEN 'PUBLIC' THEN '' ELSE people.role END,
           format('GRANT EXECUTE ON FUNCTION %s TO %s', name, people.role)
      FROM functions, people
     WHERE people.role = 'PUBLIC'
        OR (people.role ~ ('^' || schema || '_(anon|user|service)$') AND NOT has_function_privilege(people.role, functions.oid, 'EXECUTE'))
    UNION ALL
    SELECT 'grant of a schema added', format('%s on %s to %s', privilege, ours.name, people.role), '', '',
           format('GRANT %s ON SCHEMA %I TO %s', privilege, ours.name, people.role)
      FROM ours, people, unnest(ARRAY['USAGE', 'CREATE']) AS privilege
     WHERE people.role = 'PUBLIC' OR NOT has_schema_privilege(people.role, ours.oid, privilege)
    UNION ALL
    SELECT 'grant of the database added', format('%s to %s', privilege, people.role), '', '',
           format('GRANT %s ON DATABASE %I TO %s', privilege, current_database(), people.role)
      FROM people, unnest(ARRAY['CONNECT', 'CREATE', 'TEMPORARY']) AS privilege
     WHERE people.role = 'PUBLIC' OR NOT has_database_privilege(people.role, current_database(), privilege)
    UNION ALL
    -- Every role may use the type of a table already, whose default privileges Postgres does not apply.
    SELECT 'grant of a type added', format('%s to %s', t.oid::regtype, people.role), '', '',
           format('GRANT USAGE ON TYPE %s TO %s', t.oid::regtype, people.role)
      FROM pg_type AS t JOIN ours ON ours.oid = t.typnamespace JOIN pg_class AS c ON c.oid = t.typrelid, people
     WHERE c.relkind = 'c' AND people.role ~ ('^(PUBLIC|' || ours.name || '_(user|service|anon))$')
       AND (people.role = 'PUBLIC' OR NOT has_type_privilege(people.role, t.oid, 'USAGE'))
    UNION ALL
    SELECT 'type of a table taken from PUBLIC', t.oid::regtype::text, '', '',
           format('REVOKE USAGE ON TYPE %s FROM PUBLIC', t.oid::regtype)
      FROM pg_type AS t JOIN ours ON ours.oid = t.typnamespace JOIN pg_class AS c ON c.oid = t.typrelid
     WHERE c.relkind = 'r'
    UNION ALL
    SELECT 'default privilege added', format('%s on %s of %s%s to %s', privilege, objects, owner, within, grantee), '', '',
           format('ALTER DEFAULT PRIVILEGES FOR ROLE %s%s GRANT %s ON %s TO %s', owner, within, privilege, objects, grantee)
      FROM (VALUES ('EXECUTE', 'FUNCTIONS'), ('USAGE', 'TYPES'), ('SELECT', 'TABLES'), ('UPDATE', 'TABLES'),
                ('USAGE', 'SEQUENCES')) AS defaults (privilege, objects),
           (VALUES ('identity_owner', 'identity'), ('data_owner', 'data')) AS owners (owner, schema),
           LATERAL (VALUES (''), (' IN SCHEMA ' || schema)) AS places (within),
           LATERAL (VALUES ('PUBLIC'), (schema || '_user')) AS grantees (grantee)
    UNION ALL
    -- Owners.
    SELECT 'owner changed', format('%s to %s', object, owner), table_name, '', format('ALTER %s OWNER TO %s', object, owner)
      FROM (SELECT CASE relkind WHEN 'v' THEN 'VIEW ' ELSE 'TABLE ' END || name AS object, name AS table_name, relowner AS now
              FROM relations
            UNION ALL SELECT 'FUNCTION ' || name, '', proowner FROM functions
            UNION ALL SELECT 'SCHEMA ' || name, '', owner FROM ours
            UNION ALL SELECT 'TYPE ' || t.oid::regtype, '', t.typowner
              FROM pg_type AS t JOIN ours ON ours.oid = t.typnamespace JOIN pg_class AS c ON c.oid = t.typrelid
             WHERE c.relkind = 'c'
            UNION ALL SELECT format('DATABASE %I', current_database()), '', 0::oid) AS owned,
           (VALUES ('identity_owner'), ('data_owner'), ('postgres'), ('data_user')) AS owners (owner)
     WHERE owner::regrole::oid <> now
       AND (owner <> 'data_user' OR object LIKE '%data.users' OR object LIKE 'FUNCTION%admit_person%')
    UNION ALL
    -- Properties of functions.
    SELECT 'function ' || lower(property), name, '', '', format('ALTER FUNCTION %s %s', name, property)
      FROM functions,
           LATERAL (VALUES
               (CASE WHEN prosecdef THEN 'SECURITY INVOKER' ELSE 'SECURITY DEFINER' END),
               (CASE WHEN proleakproof THEN 'NOT LEAKPROOF' ELSE 'LEAKPROOF' END),
               (CASE WHEN proisstrict THEN 'CALLED ON NULL INPUT' ELSE 'STRICT' END),
               (CASE WHEN provolatile <> 'i' THEN 'IMMUTABLE' END), (CASE WHEN provolatile <> 's' THEN 'STABLE' END),
               (CASE WHEN provolatile <> 'v' THEN 'VOLATILE' END), (CASE WHEN proparallel <> 's' THEN 'PARALLEL SAFE' END),
               (CASE WHEN proparallel <> 'u' THEN 'PARALLEL UNSAFE' END),
               (CASE WHEN proparallel <> 'r' THEN 'PARALLEL RESTRICTED' END),
               (CASE WHEN proconfig IS NOT NULL THEN 'RESET search_path' END),
               ('SET search_path = public'), ('SET row_security = off')) AS properties (property)
     WHERE property IS NOT NULL
    UNION ALL
    -- Constraints and indexes.
    SELECT CASE contype WHEN 'c' THEN 'CHECK' WHEN 'f' THEN 'foreign key' WHEN 'p' THEN 'primary key' WHEN 'u' THEN 'unique key'
               ELSE contype::text END || ' dropped', constraint_name || ' on ' || name, name, '',
           format('ALTER TABLE %s DROP CONSTRAINT %s CASCADE', name, constraint_name)
      FROM constraints
    UNION ALL
    SELECT 'foreign key with another action', constraint_name || ' on ' || name, name, '',
           format('ALTER TABLE %s DROP CONSTRAINT %s, ADD CONSTRAINT %s %s', name, constraint_name, constraint_name,
               CASE WHEN definition LIKE '% ON DELETE %' THEN regexp_replace(definition, ' ON DELETE (CASCADE|RESTRICT|SET NULL.*)', '')
                   ELSE definition || ' ON DELETE CASCADE' END)
      FROM constraints WHERE contype = 'f'
    UNION ALL
    SELECT 'foreign key that can be deferred', constraint_name || ' on ' || name, name, '',
           format('ALTER TABLE %s ALTER CONSTRAINT %s %s', name, constraint_name,
               CASE WHEN condeferrable THEN 'NOT DEFERRABLE' ELSE 'DEFERRABLE INITIALLY DEFERRED' END)
      FROM constraints WHERE contype = 'f'
    UNION ALL
    -- The referenced columns need a key of their own, which the reduced foreign key then uses.
    SELECT 'foreign key reduced', format('%s on %s without its column %s', constraint_name, name, dropped), name, '',
           format('ALTER TABLE %1$s ADD CONSTRAINT reduced UNIQUE (%2$s); ALTER TABLE %3$s DROP CONSTRAINT %4$s, '
               || 'ADD CONSTRAINT %4$s FOREIGN KEY (%5$s) REFERENCES %1$s (%2$s)',
               confrelid::regclass, other, name, constraint_name, own)
      FROM constraints, generate_subscripts(conkey, 1) AS dropped,
           LATERAL (SELECT string_agg(quote_ident(a.attname), ', ' ORDER BY i) AS own,
                           string_agg(quote_ident(b.attname), ', ' ORDER BY i) AS other
                      FROM generate_subscripts(conkey, 1) AS i
                           JOIN pg_attribute AS a ON a.attrelid = conrelid AND a.attnum = conkey[i]
                           JOIN pg_attribute AS b ON b.attrelid = confrelid AND b.attnum = confkey[i]
                     WHERE i <> dropped) AS columns
     WHERE contype = 'f' AND cardinality(conkey) > 1
    UNION ALL
    SELECT CASE WHEN indisunique THEN 'unique index dropped' ELSE 'index dropped' END, i.indexrelid::regclass::text, t.name, '',
           format('DROP INDEX %s', i.indexrelid::regclass)
      FROM pg_index AS i JOIN tables AS t ON t.oid = i.indrelid
     WHERE NOT EXISTS (SELECT FROM pg_constraint WHERE conindid = i.indexrelid AND conrelid = t.oid)
    UNION ALL
    SELECT 'unique index made plain', i.indexrelid::regclass::text, t.name, '',
           format('DROP INDEX %s; %s', i.indexrelid::regclass, replace(pg_get_indexdef(i.indexrelid), 'CREATE UNIQUE', 'CREATE'))
      FROM pg_index AS i JOIN tables AS t ON t.oid = i.indrelid
     WHERE i.indisunique AND NOT EXISTS (SELECT FROM pg_constraint WHERE conindid = i.indexrelid AND conrelid = t.oid)
    UNION ALL
    SELECT 'unique key with one more column', format('%s with %s', constraint_name, more), name, '',
           format('ALTER TABLE %s DROP CONSTRAINT %s CASCADE, ADD CONSTRAINT %s %s', name, constraint_name, constraint_name,
               regexp_replace(definition, '\)', format(', %I)', more)))
      FROM constraints,
           LATERAL (SELECT a.attname AS more FROM pg_attribute AS a
                     WHERE a.attrelid = conrelid AND a.attnotnull AND a.attnum > 0 AND NOT a.attnum = ANY (conkey)
                     ORDER BY a.attnum LIMIT 1) AS another
     WHERE contype IN ('p', 'u')
    UNION ALL
    SELECT 'NOT NULL dropped', format('%I of %s', attname, name), name, '',
           format('ALTER TABLE %s ALTER COLUMN %I DROP NOT NULL', name, attname)
      FROM tables JOIN pg_attribute ON attrelid = tables.oid AND attnum > 0 AND NOT attisdropped AND attnotnull
     WHERE NOT EXISTS (SELECT FROM pg_constraint WHERE conrelid = tables.oid AND contype = 'p' AND attnum = ANY (conkey))
    UNION ALL
    SELECT 'default dropped', format('%I of %s', attname, name), name, '',
           format('ALTER TABLE %s ALTER COLUMN %I DROP DEFAULT', name, attname)
      FROM tables JOIN pg_attribute ON attrelid = tables.oid AND attnum > 0 AND atthasdef AND attgenerated = ''
    UNION ALL
    -- Triggers and views.
    SELECT 'trigger disabled', format('%I on %s', tgname, t.name), t.name, '',
           format('ALTER TABLE %s DISABLE TRIGGER %I', t.name, tgname)
      FROM pg_trigger JOIN tables AS t ON t.oid = tgrelid WHERE NOT tgisinternal
    UNION ALL
    SELECT 'trigger dropped', format('%I on %s', tgname, t.name), t.name, '', format('DROP TRIGGER %I ON %s', tgname, t.name)
      FROM pg_trigger JOIN tables AS t ON t.oid = tgrelid WHERE NOT tgisinternal
    UNION ALL
    SELECT 'trigger of a foreign key disabled', format('%s on %s', constraint_name, name), name, '',
           format('ALTER TABLE %s DISABLE TRIGGER ALL', name)
      FROM constraints WHERE contype = 'f'
    UNION ALL
    SELECT 'view with the rights of its owner', name, name, '', format('ALTER VIEW %s RESET (security_invoker)', name)
      FROM relations WHERE relkind = 'v'
    UNION ALL
    SELECT 'view with another security_barrier', name, name, '',
           format('ALTER VIEW %s SET (security_barrier = %s)', name, NOT coalesce('security_barrier=true' = ANY (reloptions), false))
      FROM relations WHERE relkind = 'v'
    UNION ALL
    -- Roles.
    SELECT 'role changed', format('%I %s', rolname, attribute), '', '', format('ALTER ROLE %I %s', rolname, attribute)
      FROM pg_roles,
           LATERAL (VALUES ('SUPERUSER'), ('BYPASSRLS'), ('REPLICATION'), ('CREATEROLE'), ('CREATEDB'),
               (CASE WHEN rolinherit THEN 'NOINHERIT' ELSE 'INHERIT' END), (CASE WHEN rolcanlogin THEN 'NOLOGIN' ELSE 'LOGIN' END),
               ('CONNECTION LIMIT 7'), ('SET search_path = public'), ('RESET ALL')) AS attributes (attribute)
     WHERE rolname ~ '^(identity|data|haven)_' AND rolname <> 'haven_admin'
       AND (attribute <> 'RESET ALL' OR EXISTS (SELECT FROM pg_db_role_setting WHERE setrole = pg_roles.oid))
    UNION ALL
    SELECT 'membership revoked', format('%s of %s', member::regrole, roleid::regrole), '', '',
           format('REVOKE %s FROM %s', roleid::regrole, member::regrole)
      FROM pg_auth_members WHERE member::regrole::text ~ '^(identity|data|haven)_' AND member <> 'haven_admin'::regrole
    UNION ALL
    SELECT 'membership granted', format('%s of %s', m.role, g.role), '', '', format('GRANT %s TO %s', g.role, m.role)
      FROM people AS m, (VALUES ('identity_owner'), ('data_owner'), ('identity_service'), ('data_service'), ('identity_user'),
               ('data_user'), ('pg_read_all_data'), ('pg_write_all_data'), ('pg_execute_server_program')) AS g (role)
     WHERE m.role <> 'PUBLIC' AND m.role <> g.role AND NOT pg_has_role(m.role, g.role, 'MEMBER')
       AND NOT pg_has_role(g.role, m.role, 'MEMBER')
)
SELECT kind, subject, relation, role, apply FROM changes ORDER BY kind COLLATE "C", subject COLLATE "C", apply COLLATE "C"
