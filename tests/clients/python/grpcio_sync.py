"""The cases with grpcio and its blocking stubs; with the argument `restarts`, calls until standard input ends."""

import os
import sys
import threading

import grpc
from google.rpc import error_details_pb2, status_pb2
import reflection_pb2
import reflection_pb2_grpc
from haven.data.v1 import conversation_pb2, conversation_pb2_grpc, crisis_pb2, crisis_pb2_grpc, person_pb2, person_pb2_grpc
from haven.identity.v1 import account_pb2, account_pb2_grpc, session_pb2, session_pb2_grpc

from outcomes import DATA, IDENTITY, LARGE, TEXT, expect, expect_all_messages, file, print_version, request_id, run

METADATA = [("authorization", f"Bearer {os.environ['HAVEN_TOKEN']}")]
USER = conversation_pb2.SENDER_TYPE_USER


def detail(error, message):
    """Returns the detail of a failure that has the type of `message`, or fails."""
    trailers = dict(error.trailing_metadata())
    status = status_pb2.Status.FromString(trailers["grpc-status-details-bin"])
    for packed in status.details:
        if packed.Unpack(message):
            return message
    raise AssertionError(f"no {message.DESCRIPTOR.name}")


def failure(call):
    """Returns the failure of a call."""
    try:
        call()
    except grpc.RpcError as error:
        return error
    raise AssertionError("the call succeeded")


class Cases:
    def __init__(self):
        plain = grpc.ssl_channel_credentials(file("HAVEN_CA"))
        certified = grpc.ssl_channel_credentials(file("HAVEN_CA"), file("HAVEN_KEY"), file("HAVEN_CERTIFICATE"))
        data = grpc.secure_channel(DATA, plain)
        self.conversation = conversation_pb2_grpc.ConversationServiceStub(data)
        self.person = person_pb2_grpc.PersonServiceStub(data)
        self.reflection = reflection_pb2_grpc.ServerReflectionStub(data)
        self.session = session_pb2_grpc.SessionServiceStub(grpc.secure_channel(IDENTITY, plain))
        self.account = account_pb2_grpc.AccountServiceStub(grpc.secure_channel(IDENTITY, certified))
        self.crisis = crisis_pb2_grpc.CrisisServiceStub(grpc.secure_channel(DATA, certified))

    def append(self, text, **options):
        request = conversation_pb2.AppendMessageRequest(sender_type=USER, text=text, request_id=request_id())
        return self.conversation.AppendMessage(request, metadata=METADATA, **options).message

    def unary(self):
        message = self.append(TEXT)
        request = conversation_pb2.GetMessageRequest(message_id=message.id)
        expect(self.conversation.GetMessage(request, metadata=METADATA).message.text == TEXT, "another text")

    def export(self, token=""):
        return self.person.ExportData(person_pb2.ExportDataRequest(resume_token=token), metadata=METADATA)

    def server_stream(self):
        ids = []
        for response in self.export():
            ids += [message.id for message in response.messages]
        expect_all_messages(ids, response.manifest)

    def client_stream(self):
        accounts = [
            account_pb2.ImportAccountsRequest(
                user_id=request_id(), email=f"{request_id()}@example.org", goals=[account_pb2.GOAL_BUILD_CONFIDENCE]
            )
            for _ in range(2)
        ]
        answer = self.account.ImportAccounts(iter(accounts))
        expect(answer.created_count == 2, answer)
        answer = self.account.ImportAccounts(iter(accounts))
        expect(answer.existing_count == 2, answer)

    def bidi_stream(self):
        ask = reflection_pb2.ServerReflectionRequest
        answers = self.reflection.ServerReflectionInfo(
            iter([ask(list_services=""), ask(file_containing_symbol="haven.data.v1.ConversationService")])
        )
        names = [service.name for service in next(answers).list_services_response.service]
        expect("haven.data.v1.ConversationService" in names, "the service is not listed")
        expect(next(answers).file_descriptor_response.file_descriptor_proto, "no file")
        expect(next(answers, None) is None, "a third answer")

    def watch(self, **options):
        return self.crisis.WatchCrisisEvents(crisis_pb2.WatchCrisisEventsRequest(), **options)

    def certificate(self):
        watch = self.watch()
        expect(next(watch).event.id, "no event")
        watch.cancel()

    def details(self):
        error = failure(
            lambda: self.conversation.AppendMessage(
                conversation_pb2.AppendMessageRequest(request_id="x"), metadata=METADATA
            )
        )
        expect(error.code() == grpc.StatusCode.INVALID_ARGUMENT, error.code())
        info = detail(error, error_details_pb2.ErrorInfo())
        expect((info.reason, info.domain) == ("INVALID_FIELD", "haven"), info)
        fields = {violation.field for violation in detail(error, error_details_pb2.BadRequest()).field_violations}
        expect({"request_id", "text", "sender_type"} <= fields, fields)
        expect(detail(error, error_details_pb2.RequestInfo()).request_id, "no request id")

    def retry_info(self):
        request = session_pb2.SignInRequest(
            email=os.environ["HAVEN_EMAIL"], password=os.environ["HAVEN_PASSWORD"], request_id=request_id()
        )
        error = failure(lambda: self.session.SignIn(request))
        expect(error.code() == grpc.StatusCode.RESOURCE_EXHAUSTED, error.code())
        expect(detail(error, error_details_pb2.ErrorInfo()).reason == "RATE_LIMITED", "another reason")
        expect(detail(error, error_details_pb2.RetryInfo()).retry_delay.seconds > 0, "no delay")

    def deadline(self):
        watch = self.watch(timeout=1)
        expect(next(watch).event.id, "no event")
        error = failure(lambda: list(watch))
        expect(error.code() == grpc.StatusCode.DEADLINE_EXCEEDED, error.code())

    def cancel(self):
        watch = self.watch()
        next(watch)
        watch.cancel()
        error = failure(lambda: list(watch))
        expect(error.code() == grpc.StatusCode.CANCELLED, error.code())
        self.append("after a cancelled call")

    def resume(self):
        stream = self.export()
        first = next(stream)
        stream.cancel()
        ids = [message.id for message in first.messages]
        for response in self.export(first.resume_token):
            ids += [message.id for message in response.messages]
        expect_all_messages(ids, response.manifest)

    def gzip(self):
        message = self.append(TEXT * 50, compression=grpc.Compression.Gzip)
        expect(message.text == TEXT * 50, "another text")

    def large_answer(self):
        request = conversation_pb2.ListMessagesRequest(page_size=200)
        answer = self.conversation.ListMessages(request, metadata=METADATA)
        expect(answer.ByteSize() > LARGE, answer.ByteSize())

    def too_large(self):
        error = failure(lambda: self.append("a" * (2 << 20)))
        expect(error.code() == grpc.StatusCode.RESOURCE_EXHAUSTED, f"{error.code()}: {error.details()}")
        expect(detail(error, error_details_pb2.ErrorInfo()).reason == "MESSAGE_TOO_LARGE", "another reason")


def restarts():
    """Calls both services in four threads until standard input ends, through channels with the service config alone."""
    options = [
        ("grpc.service_config", file("HAVEN_SERVICE_CONFIG").decode()),
        ("grpc.ssl_target_name_override", "localhost"),
    ]
    credentials = grpc.ssl_channel_credentials(file("HAVEN_CA"))
    identity, data = (
        grpc.secure_channel("ipv4:" + os.environ[name], credentials, options)
        for name in ("HAVEN_IDENTITY_REPLICAS", "HAVEN_DATA_REPLICAS")
    )
    account = account_pb2_grpc.AccountServiceStub(identity)
    conversation = conversation_pb2_grpc.ConversationServiceStub(data)
    ended, lock, appended = threading.Event(), threading.Lock(), [0]

    def call():
        while not ended.is_set():
            try:
                account.GetAccount(account_pb2.GetAccountRequest(), metadata=METADATA, timeout=30)
                request = conversation_pb2.AppendMessageRequest(sender_type=USER, text="x", request_id=request_id())
                conversation.AppendMessage(request, metadata=METADATA, timeout=30)
                with lock:
                    appended[0] += 1
                    print("round", flush=True)
            except grpc.RpcError as error:
                with lock:
                    print(f"failed\t{error.code().name}: {error.details()}", flush=True)

    threads = [threading.Thread(target=call) for _ in range(4)]
    for thread in threads:
        thread.start()
    sys.stdin.read()
    ended.set()
    for thread in threads:
        thread.join()
    print(f"appended\t{appended[0]}", flush=True)


def main():
    if sys.argv[1] == "restarts":
        return restarts()
    print_version("grpcio")
    run(Cases())


if __name__ == "__main__":
    main()
