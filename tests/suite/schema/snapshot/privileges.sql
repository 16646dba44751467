-- Returns an access control list as text: each grantee with its privileges, of which those with a grant option have a star.
-- An empty list reads "none". The owner's own MAINTAIN is left out, because Postgres has it since 17 only.
CREATE OR REPLACE FUNCTION pg_temp.privileges(list aclitem[], kind "char", owner oid) RETURNS text
LANGUAGE sql STABLE
RETURN (
    SELECT coalesce(string_agg(grantee || '=' || granted, ' ' ORDER BY grantee COLLATE "C"), 'none')
      FROM (SELECT CASE entry.grantee WHEN 0 THEN 'PUBLIC' ELSE pg_get_userbyid(entry.grantee) END AS grantee,
                   string_agg(entry.privilege_type || CASE WHEN entry.is_grantable THEN '*' ELSE '' END, ','
                       ORDER BY entry.privilege_type COLLATE "C", entry.is_grantable) AS granted
              FROM aclexplode(coalesce(list, acldefault(kind, owner))) AS entry
             WHERE NOT (entry.privilege_type = 'MAINTAIN' AND entry.grantee = owner)
             GROUP BY entry.grantee) AS grantees)
