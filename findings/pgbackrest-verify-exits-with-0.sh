#!/usr/bin/env bash
# `pgbackrest verify` exits with 0 when a file of a backup is damaged, and does not notice that a segment of the archive is missing.
#
# Expected: verify, which reads and compares every file of the repository, exits with another code than 0 when a backup is invalid; and
# reports a gap in the write-ahead log as `missing`, because no moment after the gap can be restored.
#
# What happens: with a changed byte in a file of a backup, pgBackRest 2.45 (Debian 12) prints "status: error" and "checksum invalid: 1"
# at the log level info, ends with "verify command end: completed successfully", and exits with 0. With a segment deleted from the
# middle of the archive it prints "status: ok" and "missing: 0".
#
# Runs on Debian 12 with postgresql-15: pgBackRest is unpacked into a temporary directory, and is not installed.
set -euo pipefail

readonly PGBACKREST=2.45-1
readonly BIN=/usr/lib/postgresql/15/bin

work=$(mktemp -d)
chmod 755 "$work"
as_user() {
    if [ "$(id -u)" -eq 0 ]; then setpriv --reuid=postgres --regid=postgres --clear-groups "$@"; else "$@"; fi
}
stop() {
    as_user "$BIN/pg_ctl" --pgdata "$work/home/data" --silent --mode immediate stop 2>/dev/null || true
    rm -rf "$work"
}
trap stop EXIT
cd "$work"
apt-get -qq download "pgbackrest=$PGBACKREST" 2>/dev/null
dpkg-deb --extract ./*.deb root
mkdir home
[ "$(id -u)" -ne 0 ] || chown postgres home
cat >pgbackrest.conf <<CONF
[global]
repo1-path=$work/home/repository
repo1-retention-full=1
log-level-file=off
lock-path=$work/home/lock
start-fast=y
[main]
pg1-path=$work/home/data
pg1-socket-path=$work/home
CONF
backrest() {
    as_user "$work/root/usr/bin/pgbackrest" --config="$work/pgbackrest.conf" --stanza=main "$@"
}
as_user "$BIN/initdb" --pgdata home/data --auth trust --no-sync >/dev/null
as_user "$BIN/pg_ctl" --pgdata "$work/home/data" --silent --wait --log "$work/home/log" start --options \
    "-c listen_addresses= -c unix_socket_directories=$work/home -c archive_mode=on \
     -c 'archive_command=$work/root/usr/bin/pgbackrest --config=$work/pgbackrest.conf --stanza=main archive-push %p'"
backrest stanza-create
backrest --type=full backup
for _ in 1 2 3; do backrest check; done

segment=$(find home/repository/archive -name '000000010000000000000005-*')
mv "$segment" home/segment
gap=$(backrest --output=text --verbose verify)
mv home/segment "$segment"

file=$(find home/repository/backup -path '*/global/1262.gz')
printf x | dd of="$file" bs=1 seek=40 conv=notrunc status=none
code=0
damage=$(backrest --output=text --verbose verify) || code=$?

printf 'a segment is missing:\n%s\n\na file is damaged (exit code %s):\n%s\n' "$gap" "$code" "$damage"
if ! grep -qx 'status: ok' <<<"$gap" || ! grep -q 'missing: 0' <<<"$gap"; then
    echo "changed: verify notices the missing segment" >&2
    exit 1
fi
if [ "$code" != 0 ] || ! grep -qx 'status: error' <<<"$damage"; then
    echo "changed: verify tells of damage by its exit code" >&2
    exit 1
fi
echo "as described: exit code 0 for a damaged file, and no word of a missing segment"
