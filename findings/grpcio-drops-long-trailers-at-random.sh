#!/usr/bin/env bash
# grpcio replaces the status of a failed call with another one, at random, if its details have between 8 and 16 KiB.
#
# Expected: a client takes a status with long details, or refuses it each time: a limit on headers has one value.
#
# What happens: grpcio 1.85.3 has two limits, a soft one (grpc.max_metadata_size, 8 KiB) and a hard one
# (grpc.absolute_max_metadata_size, 16 KiB). Up to the soft one every call gets the server's INVALID_ARGUMENT. In between, a part of the calls
# gets RESOURCE_EXHAUSTED without the details instead (about half at 12,000 bytes); above the hard one all do. So one test of a server with
# such details says nothing. With limits of 64 and 128 KiB all calls get the server's status.
set -euo pipefail

readonly GRPCIO=1.85.3

work=$(mktemp -d)
trap 'rm -rf "$work"' EXIT
python3 -m venv "$work/venv"
"$work/venv/bin/pip" install --quiet --disable-pip-version-check "grpcio==$GRPCIO"

cat >"$work/details.py" <<'PY'
from collections import Counter
from concurrent.futures import ThreadPoolExecutor

import grpc


def fail(request, context):
    context.set_trailing_metadata([("grpc-status-details-bin", b"x" * int(request))])
    context.abort(grpc.StatusCode.INVALID_ARGUMENT, "no")


server = grpc.server(ThreadPoolExecutor(2))
handler = grpc.unary_unary_rpc_method_handler(fail)
server.add_generic_rpc_handlers([grpc.method_handlers_generic_handler("test.Test", {"Put": handler})])
port = server.add_insecure_port("127.0.0.1:0")
server.start()


def codes(size, *options):
    seen = Counter()
    with grpc.insecure_channel(f"127.0.0.1:{port}", options) as channel:
        put = channel.unary_unary("/test.Test/Put")
        for _ in range(200):
            try:
                put(str(size).encode(), timeout=20)
            except grpc.RpcError as error:
                seen[error.code().name] += 1
    return dict(sorted(seen.items()))


short, between, long = codes(7_500), codes(12_000), codes(17_000)
raised = codes(17_000, ("grpc.max_metadata_size", 65536), ("grpc.absolute_max_metadata_size", 131072))
print("7,500 bytes: ", short)
print("12,000 bytes:", between)
print("17,000 bytes:", long)
print("17,000 bytes, with limits of 64 and 128 KiB:", raised)
everyone = {"INVALID_ARGUMENT": 200}
assert short == everyone, short
assert set(between) == {"INVALID_ARGUMENT", "RESOURCE_EXHAUSTED"}, between
assert min(between.values()) > 20, between
assert long == {"RESOURCE_EXHAUSTED": 200}, long
assert raised == everyone, raised
server.stop(0)
PY
"$work/venv/bin/python" "$work/details.py"
