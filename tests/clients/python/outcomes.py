"""The outcomes of cases, as the harness reads them: the name, a tab, and `yes`, or `no: ` and why."""

import asyncio
import os
import platform
import ssl
import uuid
from importlib.metadata import version

TEXT = "Grüße aus 東京 🌊"
LARGE = 1_100_000
NAMES = [
    "unary",
    "server stream",
    "client stream",
    "bidi stream",
    "certificate",
    "details",
    "retry info",
    "deadline",
    "cancel",
    "resume",
    "gzip",
    "large answer",
    "too large",
]
IDENTITY = os.environ["HAVEN_IDENTITY"]
DATA = os.environ["HAVEN_DATA"]


def file(variable):
    """Returns the content of the file that a variable names."""
    with open(os.environ[variable], "rb") as content:
        return content.read()


def request_id():
    return str(uuid.uuid4())


def channel(address, certified=False):
    """Returns a channel of grpclib, with the certificate of the backend if `certified`."""
    from grpclib.client import Channel

    context = ssl.create_default_context(cafile=os.environ["HAVEN_CA"])
    if certified:
        context.load_cert_chain(os.environ["HAVEN_CERTIFICATE"], os.environ["HAVEN_KEY"])
    context.set_alpn_protocols(["h2"])
    host, port = address.split(":")
    return Channel(host, int(port), ssl=context)


def print_version(*packages):
    names = ", ".join(f"{package} {version(package)}" for package in packages)
    print(f"version\t{names}, Python {'.'.join(platform.python_version_tuple()[:2])}", flush=True)


def run(cases):
    """Calls the method of each case, and prints its outcome."""
    for name in NAMES:
        method = getattr(cases, name.replace(" ", "_"))
        try:
            method()
            print(f"{name}\tyes", flush=True)
        except Exception as error:
            print(f"{name}\t{failed(error)}", flush=True)


async def run_async(cases):
    """Does the same with methods that are coroutines."""
    for name in NAMES:
        method = getattr(cases, name.replace(" ", "_"))
        try:
            await asyncio.wait_for(method(), 60)
            print(f"{name}\tyes", flush=True)
        except Exception as error:
            print(f"{name}\t{failed(error)}", flush=True)


def failed(error):
    """Returns the outcome for an exception."""
    reason = str(error)
    if hasattr(error, "code"):  # of grpcio
        reason = f"{error.code().name}: {error.details()}"
    elif not isinstance(error, (AssertionError, NotImplementedError)):
        reason = f"{type(error).__name__}: {error}"
    return f"no: {' '.join(reason.split())[:160]}"


def expect(condition, what):
    if not condition:
        raise AssertionError(what)


def expect_all_messages(ids, manifest):
    """Fails unless an export had each message once."""
    stored = next(table.rows for table in manifest.exported if table.table == "data.conversations")
    expect(stored >= 200, f"{stored} messages")
    expect(len(ids) == len(set(ids)) == stored, f"{len(ids)} messages, {len(set(ids))} different ones, {stored} stored")
