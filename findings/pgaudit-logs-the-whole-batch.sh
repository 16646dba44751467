#!/usr/bin/env bash
# pgaudit's line about one statement has the text of every statement that was sent with it.
#
# Expected: with pgaudit.log = 'ddl' and pgaudit.log_parameter = off the audit log has the text of DDL statements, and no text of
# INSERT or UPDATE statements, so no value of a row reaches it.
#
# What happens: the line of a DDL statement has the query string that the client sent. Where a client sends several statements as one
# simple query, as psql -c and migration tools do, the line of CREATE TABLE holds the values of an INSERT beside it.
#
# Runs on Debian 12: the packages are unpacked into a temporary directory, and are not installed.
set -euo pipefail

readonly PGAUDIT=1.7.0-2

work=$(mktemp -d)
trap 'rm -rf "$work"' EXIT
chmod 755 "$work"

as_user() {
    if [ "$(id -u)" -eq 0 ]; then setpriv --reuid=nobody --regid=nogroup --clear-groups env HOME="$work" "$@"; else "$@"; fi
}

cd "$work"
apt-get -qq download postgresql-15 postgresql-client-15 libpq5 "postgresql-15-pgaudit=$PGAUDIT" 2>/dev/null
for package in *.deb; do
    dpkg-deb --extract "$package" root
done
chmod -R a+rX root
mkdir data
[ "$(id -u)" -ne 0 ] || chown nobody:nogroup data
cd /

bin="$work/root/usr/lib/postgresql/15/bin"
LD_LIBRARY_PATH=$(dirname "$(find "$work/root" -name 'libpq.so.5' | head -n 1)")
export LD_LIBRARY_PATH
as_user "$bin/initdb" --pgdata "$work/data" --username postgres --auth trust --no-sync >/dev/null
as_user "$bin/pg_ctl" --pgdata "$work/data" --silent --wait --log "$work/data/log" --options \
    "-c listen_addresses= -c unix_socket_directories=$work/data -c shared_preload_libraries=pgaudit -c pgaudit.log=ddl -c pgaudit.log_parameter=off" \
    start
sql() {
    as_user "$bin/psql" --no-psqlrc --quiet --host "$work/data" --username postgres --command "$1"
}
"$bin/postgres" --version
sql "CREATE TABLE one (value text)"
sql "INSERT INTO one VALUES ('sent alone')"
sql "CREATE TABLE two (value text); INSERT INTO two VALUES ('sent with it')"
as_user "$bin/pg_ctl" --pgdata "$work/data" --silent --mode immediate stop

grep AUDIT "$work/data/log"
if grep -q 'sent alone' "$work/data/log"; then
    echo "changed: an INSERT of its own is in the audit log of DDL" >&2
    exit 1
fi
if ! grep AUDIT "$work/data/log" | grep 'DDL,CREATE TABLE,' | grep -q 'sent with it'; then
    echo "changed: the line about CREATE TABLE has its own text only" >&2
    exit 1
fi
echo "as described: the line about CREATE TABLE has the values of the INSERT beside it (pgaudit $PGAUDIT)"
