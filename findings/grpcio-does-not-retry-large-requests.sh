#!/usr/bin/env bash
# A retry policy in grpcio does not apply to a request of more than 256 KiB, and nothing says so.
#
# Expected: a service config with a retryPolicy (gRFC A6) makes the library repeat a call that ends with UNAVAILABLE, with a request of any
# size up to the limit on messages.
#
# What happens: with grpcio 1.85.3 a request of 100 KiB is sent five times, as the policy says, and one of 300 KiB once: it does not fit into
# the channel's buffer for retries, 256 KiB by default. The call fails with the first UNAVAILABLE, without a warning. With
# the channel argument grpc.per_rpc_retry_buffer_size of 1 MiB, both are sent five times.
set -euo pipefail

readonly GRPCIO=1.85.3

work=$(mktemp -d)
trap 'rm -rf "$work"' EXIT
python3 -m venv "$work/venv"
"$work/venv/bin/pip" install --quiet --disable-pip-version-check "grpcio==$GRPCIO"

cat >"$work/attempts.py" <<'PY'
import json
from concurrent.futures import ThreadPoolExecutor

import grpc

calls = 0


def refuse(request, context):
    global calls
    calls += 1
    context.abort(grpc.StatusCode.UNAVAILABLE, "not now")


server = grpc.server(ThreadPoolExecutor(2))
handler = grpc.unary_unary_rpc_method_handler(refuse)
server.add_generic_rpc_handlers([grpc.method_handlers_generic_handler("test.Test", {"Put": handler})])
port = server.add_insecure_port("127.0.0.1:0")
server.start()

policy = {"maxAttempts": 5, "initialBackoff": "0.01s", "maxBackoff": "0.02s", "backoffMultiplier": 1,
          "retryableStatusCodes": ["UNAVAILABLE"]}
config = json.dumps({"methodConfig": [{"name": [{}], "retryPolicy": policy}]})


def attempts(size, *options):
    global calls
    calls = 0
    with grpc.insecure_channel(f"127.0.0.1:{port}", [("grpc.service_config", config), *options]) as channel:
        try:
            channel.unary_unary("/test.Test/Put")(b"x" * size, timeout=20)
        except grpc.RpcError as error:
            assert error.code() == grpc.StatusCode.UNAVAILABLE, error
    return calls


kib = 1024
buffer = ("grpc.per_rpc_retry_buffer_size", kib * kib)
print(attempts(100 * kib), attempts(300 * kib), attempts(300 * kib, buffer))
server.stop(0)
PY

seen=$("$work/venv/bin/python" "$work/attempts.py")
echo "grpcio $GRPCIO: attempts with 100 KiB, with 300 KiB, with 300 KiB and a larger buffer: $seen"
if [ "$seen" != "5 1 5" ]; then
    echo "changed: expected 5 1 5" >&2
    exit 1
fi
echo "as described: a request of more than 256 KiB is not repeated"
