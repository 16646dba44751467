#!/usr/bin/env bash
# A failed gRPC call with 4 KB of error details is UNAVAILABLE behind nginx.
#
# Expected: a proxy with `grpc_pass` and otherwise default settings passes on a status that the client takes without the proxy: gRPC's
# libraries limit headers to 8 KiB or more, and HTTP/2 has no limit by default.
#
# What happens: nginx 1.22.1 reads the headers of an answer into one buffer of `grpc_buffer_size`, which is a page of memory: 4 KiB. A
# failure without messages is one block of headers, with its details in Base64, a third longer, which HPACK shortens by about a fifth. With
# 3,000 random bytes of details the client gets INVALID_ARGUMENT. With 4,000, nginx logs "upstream sent too big header" and answers HTTP 502,
# which is UNAVAILABLE to gRPC: a permanent failure looks like one that a retry helps. With `grpc_buffer_size 16k` both arrive.
set -euo pipefail

readonly GRPCIO=1.85.3
readonly NGINX=1.22.1

work=$(mktemp -d)
trap 'rm -rf "$work"' EXIT
chmod 755 "$work"
python3 -m venv "$work/venv"
"$work/venv/bin/pip" install --quiet --disable-pip-version-check "grpcio==$GRPCIO"

cd "$work"
version=$(apt-cache madison nginx | awk -F ' *[|] *' -v want="$NGINX-" 'index($2, want) == 1 { print $2; exit }')
[ -n "$version" ] || { echo "the package sources of this system have no nginx $NGINX" >&2; exit 1; }
apt-get -qq download "nginx=$version" 2>/dev/null
dpkg-deb --extract nginx_*.deb "$work/nginx"
"$work/nginx/usr/sbin/nginx" -v

cat >"$work/failures.py" <<'PY'
import random
import socket
import subprocess
import sys
import time
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path

import grpc

work = Path(sys.argv[1])


def fail(request, context):
    context.set_trailing_metadata([("grpc-status-details-bin", random.Random(1).randbytes(int(request)))])
    context.abort(grpc.StatusCode.INVALID_ARGUMENT, "no")


server = grpc.server(ThreadPoolExecutor(2))
handler = grpc.unary_unary_rpc_method_handler(fail)
server.add_generic_rpc_handlers([grpc.method_handlers_generic_handler("test.Test", {"Put": handler})])
upstream = server.add_insecure_port("127.0.0.1:0")
server.start()


def call(port, size):
    with grpc.insecure_channel(f"127.0.0.1:{port}") as channel:
        try:
            channel.unary_unary("/test.Test/Put")(str(size).encode(), timeout=20, wait_for_ready=True)
        except grpc.RpcError as error:
            return error.code().name
    raise AssertionError("the call succeeded")


def behind_nginx(directive, sizes):
    with socket.socket() as free:
        free.bind(("127.0.0.1", 0))
        port = free.getsockname()[1]
    temporary = "".join(f"{kind}_temp_path {work}/{kind};" for kind in ("client_body", "proxy", "fastcgi", "uwsgi", "scgi"))
    (work / "nginx.conf").write_text(
        f"daemon off; master_process off; pid {work}/pid; events {{}} http {{ access_log off; {temporary} {directive}"
        f" server {{ listen 127.0.0.1:{port} http2; location / {{ grpc_pass grpc://127.0.0.1:{upstream}; }} }} }}")
    command = [work / "nginx/usr/sbin/nginx", "-p", work, "-e", work / "error.log", "-c", work / "nginx.conf"]
    nginx = subprocess.Popen(command)
    try:
        time.sleep(1)
        return [call(port, size) for size in sizes]
    finally:
        nginx.terminate()
        nginx.wait()


sizes = (3000, 4000)
direct = [call(upstream, size) for size in sizes]
default = behind_nginx("", sizes)
log = (work / "error.log").read_text()
larger = behind_nginx("grpc_buffer_size 16k;", sizes)
print("direct:                  ", direct)
print("behind nginx:            ", default)
print("with a buffer of 16 KiB: ", larger)
print(log.strip().splitlines()[-1] if log.strip() else "no line in the log")
refused = "INVALID_ARGUMENT"
assert direct == [refused, refused], direct
assert default == [refused, "UNAVAILABLE"], default
assert larger == [refused, refused], larger
assert "upstream sent too" in log, log
server.stop(0)
PY
"$work/venv/bin/python" "$work/failures.py" "$work"
