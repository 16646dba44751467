#!/usr/bin/env bash
# `buf curl` prints the details of a failed gRPC call as base64, also where its schema has their types.
#
# Expected: a failure with a google.rpc.ErrorInfo in grpc-status-details-bin is printed with its reason, as grpcurl does with the
# same protos, since --schema names a folder that has google/rpc/error_details.proto.
#
# What happens: buf 1.75.0 prints {"type": "google.rpc.ErrorInfo", "value": "<base64>"} and nothing readable. A message of the same
# type in an answer is printed as JSON.
set -euo pipefail

readonly BUF=1.75.0
readonly GRPCIO=1.85.1
readonly COMMON_PROTOS=1.76.0

work=$(mktemp -d)
server=""
trap '[ -z "$server" ] || kill "$server"; rm -rf "$work"' EXIT
python3 -m venv "$work/venv"
"$work/venv/bin/pip" install --quiet --disable-pip-version-check "grpcio==$GRPCIO" "googleapis-common-protos==$COMMON_PROTOS"
npm install --silent --no-audit --no-fund --prefix "$work" "@bufbuild/buf@$BUF"

mkdir -p "$work/protos/google/rpc"
cp "$work"/venv/lib/python3*/site-packages/google/rpc/{status,error_details}.proto "$work/protos/google/rpc/"
cat >"$work/protos/test.proto" <<'P'
syntax = "proto3";
package test;
import "google/rpc/error_details.proto";
service Test {
  rpc Fail(google.rpc.ErrorInfo) returns (google.rpc.ErrorInfo);
  rpc Echo(google.rpc.ErrorInfo) returns (google.rpc.ErrorInfo);
}
P
cat >"$work/server.py" <<'PY'
from concurrent.futures import ThreadPoolExecutor

import grpc
from google.rpc import error_details_pb2, status_pb2


def fail(request, context):
    status = status_pb2.Status(code=9, message="no")
    status.details.add().Pack(error_details_pb2.ErrorInfo.FromString(request))
    context.set_trailing_metadata([("grpc-status-details-bin", status.SerializeToString())])
    context.abort(grpc.StatusCode.FAILED_PRECONDITION, "no")


server = grpc.server(ThreadPoolExecutor(2))
unary = grpc.unary_unary_rpc_method_handler
handlers = {"Fail": unary(fail), "Echo": unary(lambda request, context: request)}
server.add_generic_rpc_handlers([grpc.method_handlers_generic_handler("test.Test", handlers)])
print(server.add_insecure_port("127.0.0.1:0"), flush=True)
server.start()
server.wait_for_termination()
PY
"$work/venv/bin/python" "$work/server.py" >"$work/port" &
server=$!
until [ -s "$work/port" ]; do sleep 0.1; done

call() {
    "$work/node_modules/.bin/buf" curl --protocol grpc --http2-prior-knowledge --schema "$work/protos" \
        --data '{"reason": "SEEN", "domain": "test"}' "http://127.0.0.1:$(cat "$work/port")/test.Test/$1" 2>&1 || true
}

echo "buf $("$work/node_modules/.bin/buf" --version)"
echo "an answer:"
answer=$(call Echo)
echo "$answer"
echo "a detail of a failure:"
failure=$(call Fail)
echo "$failure"
grep -q '"reason": *"SEEN"' <<<"$answer"
grep -q '"google.rpc.ErrorInfo"' <<<"$failure"
# "SEEN" as a field of a message, in base64.
grep -q 'CgRTRUVO' <<<"$failure"
if grep -q '"SEEN"' <<<"$failure"; then
    echo "changed: the detail is decoded" >&2
    exit 1
fi
