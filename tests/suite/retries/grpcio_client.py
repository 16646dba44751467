"""Calls Haven with grpcio, which retries by the service config alone: nothing here does.

The argument is JSON. With "callers", that many threads make the calls in turn until standard input ends. Otherwise the
first call is made once. Prints "calling" first, and an object with the outcomes at the end.
"""

import json
import sys
import threading
import time
import uuid

import grpc


def request_id(field):
    """Returns the encoded field with a new request id."""
    return bytes([field << 3 | 2, 36]) + str(uuid.uuid4()).encode()


def padding(size):
    """Returns an encoded field of number 15, which no request has, with that many bytes."""
    length, rest = bytearray(), size
    while rest > 127:
        length.append(rest & 127 | 128)
        rest >>= 7
    return bytes([15 << 3 | 2, *length, rest]) + bytes(size)


def make(channel, call):
    """Makes a call, and returns the name of its status code, with the details of a failure."""
    request = bytes.fromhex(call["request"])
    if call.get("request_id_field"):
        request += request_id(call["request_id_field"])
    if call.get("padding"):
        request += padding(call["padding"])
    rpc = channel.unary_unary(call["path"])
    try:
        rpc(request, metadata=[tuple(pair) for pair in call["metadata"]], timeout=call.get("timeout"))
    except grpc.RpcError as error:
        return f"{error.code().name}: {error.details()}"
    return "OK"


def main():
    settings = json.loads(sys.argv[1])
    with open(settings["authority"], "rb") as file:
        credentials = grpc.ssl_channel_credentials(file.read())
    options = [("grpc.ssl_target_name_override", "localhost")]
    with open(settings["service_config"], encoding="utf-8") as file:
        options.append(("grpc.service_config", file.read()))
    if settings.get("retry_buffer"):
        options.append(("grpc.per_rpc_retry_buffer_size", settings["retry_buffer"]))
    channels = {
        name: grpc.secure_channel(target, credentials, options) for name, target in settings["targets"].items()
    }
    print("calling", flush=True)
    began = time.monotonic()
    outcomes = {}
    if not settings.get("callers"):
        call = settings["calls"][0]
        outcomes[make(channels[call["channel"]], call)] = 1
    else:
        ended = threading.Event()
        lock = threading.Lock()

        def repeat():
            while not ended.is_set():
                for call in settings["calls"]:
                    outcome = make(channels[call["channel"]], call)
                    with lock:
                        outcomes[outcome] = outcomes.get(outcome, 0) + 1

        threads = [threading.Thread(target=repeat) for _ in range(settings["callers"])]
        for thread in threads:
            thread.start()
        sys.stdin.read()
        ended.set()
        for thread in threads:
            thread.join()
    print(json.dumps({"outcomes": outcomes, "seconds": time.monotonic() - began}), flush=True)


main()
