"""The cases with a tool of the command line, grpcurl or `buf curl`, which the first argument names. Both read the sources."""

import base64
import json
import os
import re
import subprocess
import sys
import time

sys.path.insert(0, os.path.join(os.path.dirname(__file__), "../python"))
from google.protobuf.json_format import MessageToDict
from google.rpc import error_details_pb2
from outcomes import DATA, IDENTITY, LARGE, TEXT, expect, failed, request_id

TOKEN = f"authorization: Bearer {os.environ['HAVEN_TOKEN']}"
PROTO = os.environ["HAVEN_PROTO"]
REFLECTION = os.environ["HAVEN_CLIENT_PROTOS"]
CERTIFICATE = ["-cert", os.environ["HAVEN_CERTIFICATE"], "-key", os.environ["HAVEN_KEY"]]


class Failure(Exception):
    """A failed call: the text that the tool printed, and the details by type as far as it decoded them."""

    def __init__(self, text, details):
        super().__init__(text)
        self.details = details


def values(text):
    """Returns the JSON values that follow each other in a text."""
    decoder, found = json.JSONDecoder(), []
    text = text.strip()
    while text:
        value, end = decoder.raw_decode(text)
        found.append(value)
        text = text[end:].strip()
    return found


def run(command, requests):
    sent = "\n".join(json.dumps(request) for request in requests)
    return subprocess.run(command, input=sent, capture_output=True, text=True, timeout=60, check=False)


class Grpcurl:
    def version(self):
        printed = subprocess.run([os.environ["GRPCURL"], "-version"], capture_output=True, text=True, check=True)
        return "grpcurl " + (printed.stderr + printed.stdout).split()[1].lstrip("v")

    def call(self, address, method, *requests, headers=(), certified=False, limit=None):
        command = [os.environ["GRPCURL"], "-cacert", os.environ["HAVEN_CA"], "-format-error"]
        if method.startswith("grpc."):
            command += ["-import-path", REFLECTION, "-proto", "reflection.proto"]
        else:
            package = method.rpartition(".")[0].replace(".", "/")
            files = sorted(os.listdir(f"{PROTO}/{package}"))
            command += ["-import-path", PROTO, "-import-path", REFLECTION]
            command += ["-proto", "google/rpc/error_details.proto"]
            command += [part for file in files for part in ("-proto", f"{package}/{file}")]
        for header in headers:
            command += ["-H", header]
        if certified:
            command += CERTIFICATE
        if limit:
            command += ["-max-time", str(limit)]
        done = run([*command, "-d", "@", address, method], requests)
        if done.returncode == 0:
            return values(done.stdout)
        details = {}
        start = done.stderr.find("{")
        if start >= 0:
            for detail in values(done.stderr[start:])[0].get("details", []):
                details[detail["@type"].rpartition(".")[2]] = detail
        raise Failure(done.stderr, details)

    def deadline(self):
        started = time.monotonic()
        try:
            self.call(DATA, "haven.data.v1.CrisisService/WatchCrisisEvents", {}, certified=True, limit=1)
        except Failure as failure:
            expect(re.search("DeadlineExceeded|\"code\": 4|context deadline", str(failure)), failure)
            expect(time.monotonic() - started > 0.9, "too early")
            return
        raise AssertionError("the call succeeded")


class BufCurl:
    def version(self):
        printed = subprocess.run([os.environ["BUF"], "--version"], capture_output=True, text=True, check=True)
        return "buf curl " + (printed.stdout + printed.stderr).strip()

    def call(self, address, method, *requests, headers=(), certified=False):
        # The second has the reflection service, and the details of failures.
        command = [os.environ["BUF"], "curl", "--protocol", "grpc", "--schema", PROTO, "--schema", REFLECTION]
        command += ["--cacert", os.environ["HAVEN_CA"]]
        for header in headers:
            command += ["--header", header]
        if certified:
            command += ["--cert", os.environ["HAVEN_CERTIFICATE"], "--key", os.environ["HAVEN_KEY"]]
        done = run([*command, "--data", "@-", f"https://{address}/{method}"], requests)
        if done.returncode == 0:
            return values(done.stdout)
        details = {}
        start = done.stderr.find("{")
        if start >= 0:
            for detail in values(done.stderr[start:])[0].get("details", []):
                kind = detail["type"].rpartition(".")[2]
                details[kind] = detail.get("debug") or self.decode(kind, detail["value"])
        raise Failure(done.stderr, details)

    def decode(self, kind, value):
        """Decodes a detail that the tool printed as it is: this program does, and a person cannot read it."""
        self.undecoded = True
        padded = value + "=" * (-len(value) % 4)
        return MessageToDict(getattr(error_details_pb2, kind).FromString(base64.b64decode(padded)))

    undecoded = False
    deadline = None


class Cases:
    def __init__(self, tool):
        self.tool = tool
        self.deadline = tool.deadline

    def data(self, method, *requests):
        return self.tool.call(DATA, f"haven.data.v1.{method}", *requests, headers=[TOKEN])

    def append(self, text):
        request = {"sender_type": "SENDER_TYPE_USER", "text": text, "request_id": request_id()}
        return self.data("ConversationService/AppendMessage", request)[0]["message"]

    def failure(self, call):
        try:
            call()
        except Failure as failure:
            return failure
        raise AssertionError("the call succeeded")

    def unary(self):
        message = self.append(TEXT)
        answer = self.data("ConversationService/GetMessage", {"message_id": message["id"]})[0]
        expect(answer["message"]["text"] == TEXT, "another text")

    def expect_all_messages(self, responses):
        ids = [message["id"] for response in responses for message in response.get("messages", [])]
        tables = responses[-1]["manifest"]["exported"]
        stored = next(int(table["rows"]) for table in tables if table["table"] == "data.conversations")
        expect(stored >= 200 and len(ids) == len(set(ids)) == stored, f"{len(ids)} messages, {stored} stored")

    def server_stream(self):
        self.expect_all_messages(self.data("PersonService/ExportData", {}))

    def client_stream(self):
        accounts = [
            {"user_id": request_id(), "email": f"{request_id()}@example.org", "goals": ["GOAL_BUILD_CONFIDENCE"]}
            for _ in range(2)
        ]
        for count in ("createdCount", "existingCount"):
            answer = self.tool.call(
                IDENTITY, "haven.identity.v1.AccountService/ImportAccounts", *accounts, certified=True
            )[0]
            expect(answer.get(count) == 2, answer)

    def bidi_stream(self):
        name = "haven.data.v1.ConversationService"
        method = "grpc.reflection.v1.ServerReflection/ServerReflectionInfo"
        listed, file = self.tool.call(DATA, method, {"list_services": ""}, {"file_containing_symbol": name})
        expect(name in str(listed["listServicesResponse"]), "the service is not listed")
        expect(file["fileDescriptorResponse"]["fileDescriptorProto"], "no file")

    def certificate(self):
        answer = self.tool.call(
            IDENTITY, "haven.identity.v1.AccountService/ListAccounts", {"page_size": 1}, certified=True
        )[0]
        expect(answer["accounts"][0]["id"], "no account")

    def details(self):
        failure = self.failure(lambda: self.data("ConversationService/AppendMessage", {"request_id": "x"}))
        expect(failure.details.get("ErrorInfo", {}).get("reason") == "INVALID_FIELD", f"{failure.details} {failure}")
        violations = failure.details["BadRequest"]["fieldViolations"]
        expect({"request_id", "text", "sender_type"} <= {violation["field"] for violation in violations}, violations)
        expect(failure.details["RequestInfo"]["requestId"], "no request id")
        expect(not getattr(self.tool, "undecoded", False), "the tool prints the details in base64")

    def retry_info(self):
        request = {
            "email": os.environ["HAVEN_EMAIL"],
            "password": os.environ["HAVEN_PASSWORD"],
            "request_id": request_id(),
        }
        failure = self.failure(
            lambda: self.tool.call(IDENTITY, "haven.identity.v1.SessionService/SignIn", request)
        )
        expect(failure.details.get("ErrorInfo", {}).get("reason") == "RATE_LIMITED", failure)
        expect(float(failure.details["RetryInfo"]["retryDelay"].rstrip("s")) > 0, "no delay")

    def resume(self):
        """What one command printed first is continued by another: a command ends at the end of its stream."""
        first = self.data("PersonService/ExportData", {})[0]
        rest = self.data("PersonService/ExportData", {"resume_token": first["resumeToken"]})
        self.expect_all_messages([first, *rest])

    def large_answer(self):
        answer = self.data("ConversationService/ListMessages", {"page_size": 200})[0]
        size = sum(len(message["text"].encode()) for message in answer["messages"])
        expect(size > LARGE, f"{size} bytes")

    def too_large(self):
        failure = self.failure(lambda: self.append("a" * (2 << 20)))
        expect(failure.details.get("ErrorInfo", {}).get("reason") == "MESSAGE_TOO_LARGE", failure)


NAMES = [
    "unary",
    "server stream",
    "client stream",
    "bidi stream",
    "certificate",
    "details",
    "retry info",
    "deadline",
    "resume",
    "large answer",
    "too large",
]


def main():
    tool = {"grpcurl": Grpcurl, "buf": BufCurl}[sys.argv[1]]()
    print(f"version\t{tool.version()}")
    cases = Cases(tool)
    for name in NAMES:
        method = getattr(cases, name.replace(" ", "_"))
        if method is None:
            continue
        try:
            method()
            print(f"{name}\tyes", flush=True)
        except Exception as error:
            print(f"{name}\t{failed(error)}", flush=True)


main()
