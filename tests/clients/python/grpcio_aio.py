"""The cases with grpcio and its stubs for asyncio."""

import asyncio
import os
import time

import grpc
from google.rpc import error_details_pb2, status_pb2
import reflection_pb2
import reflection_pb2_grpc
from haven.data.v1 import conversation_pb2, conversation_pb2_grpc, crisis_pb2, crisis_pb2_grpc, person_pb2, person_pb2_grpc
from haven.identity.v1 import account_pb2, account_pb2_grpc, session_pb2, session_pb2_grpc

from outcomes import DATA, IDENTITY, LARGE, TEXT, expect, expect_all_messages, file, print_version, request_id, run_async

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


async def failure(call):
    """Returns the failure of a call or a stream."""
    try:
        if hasattr(call, "__aiter__"):
            async for _ in call:
                pass
        else:
            await call
    except grpc.aio.AioRpcError as error:
        return error
    raise AssertionError("the call succeeded")


class Cases:
    def __init__(self):
        plain = grpc.ssl_channel_credentials(file("HAVEN_CA"))
        certified = grpc.ssl_channel_credentials(file("HAVEN_CA"), file("HAVEN_KEY"), file("HAVEN_CERTIFICATE"))
        data = grpc.aio.secure_channel(DATA, plain)
        self.conversation = conversation_pb2_grpc.ConversationServiceStub(data)
        self.person = person_pb2_grpc.PersonServiceStub(data)
        self.reflection = reflection_pb2_grpc.ServerReflectionStub(data)
        self.session = session_pb2_grpc.SessionServiceStub(grpc.aio.secure_channel(IDENTITY, plain))
        self.account = account_pb2_grpc.AccountServiceStub(grpc.aio.secure_channel(IDENTITY, certified))
        self.crisis = crisis_pb2_grpc.CrisisServiceStub(grpc.aio.secure_channel(DATA, certified))

    def append(self, text, **options):
        request = conversation_pb2.AppendMessageRequest(sender_type=USER, text=text, request_id=request_id())
        return self.conversation.AppendMessage(request, metadata=METADATA, **options)

    async def unary(self):
        message = (await self.append(TEXT)).message
        request = conversation_pb2.GetMessageRequest(message_id=message.id)
        answer = await self.conversation.GetMessage(request, metadata=METADATA)
        expect(answer.message.text == TEXT, "another text")

    def export(self, token=""):
        return self.person.ExportData(person_pb2.ExportDataRequest(resume_token=token), metadata=METADATA)

    async def server_stream(self):
        ids = []
        async for response in self.export():
            ids += [message.id for message in response.messages]
        expect_all_messages(ids, response.manifest)

    async def client_stream(self):
        accounts = [
            account_pb2.ImportAccountsRequest(
                user_id=request_id(), email=f"{request_id()}@example.org", goals=[account_pb2.GOAL_BUILD_CONFIDENCE]
            )
            for _ in range(2)
        ]
        answer = await self.account.ImportAccounts(iter(accounts))
        expect(answer.created_count == 2, answer)
        answer = await self.account.ImportAccounts(iter(accounts))
        expect(answer.existing_count == 2, answer)

    async def bidi_stream(self):
        ask = reflection_pb2.ServerReflectionRequest
        call = self.reflection.ServerReflectionInfo()
        await call.write(ask(list_services=""))
        names = [service.name for service in (await call.read()).list_services_response.service]
        expect("haven.data.v1.ConversationService" in names, "the service is not listed")
        await call.write(ask(file_containing_symbol="haven.data.v1.ConversationService"))
        expect((await call.read()).file_descriptor_response.file_descriptor_proto, "no file")
        await call.done_writing()
        expect(await call.read() == grpc.aio.EOF, "a third answer")

    def watch(self, **options):
        return self.crisis.WatchCrisisEvents(crisis_pb2.WatchCrisisEventsRequest(), **options)

    async def certificate(self):
        watch = self.watch()
        expect((await watch.read()).event.id, "no event")
        watch.cancel()

    async def details(self):
        request = conversation_pb2.AppendMessageRequest(request_id="x")
        error = await failure(self.conversation.AppendMessage(request, metadata=METADATA))
        expect(error.code() == grpc.StatusCode.INVALID_ARGUMENT, error.code())
        info = detail(error, error_details_pb2.ErrorInfo())
        expect((info.reason, info.domain) == ("INVALID_FIELD", "haven"), info)
        fields = {violation.field for violation in detail(error, error_details_pb2.BadRequest()).field_violations}
        expect({"request_id", "text", "sender_type"} <= fields, fields)
        expect(detail(error, error_details_pb2.RequestInfo()).request_id, "no request id")

    async def retry_info(self):
        request = session_pb2.SignInRequest(
            email=os.environ["HAVEN_EMAIL"], password=os.environ["HAVEN_PASSWORD"], request_id=request_id()
        )
        error = await failure(self.session.SignIn(request))
        expect(error.code() == grpc.StatusCode.RESOURCE_EXHAUSTED, error.code())
        expect(detail(error, error_details_pb2.ErrorInfo()).reason == "RATE_LIMITED", "another reason")
        expect(detail(error, error_details_pb2.RetryInfo()).retry_delay.seconds > 0, "no delay")

    async def deadline(self):
        started = time.monotonic()
        error = await failure(self.watch(timeout=1))
        expect(time.monotonic() - started > 0.9, "too early")
        expect(error.code() == grpc.StatusCode.DEADLINE_EXCEEDED, error.code())

    async def cancel(self):
        watch = self.watch()
        await watch.read()
        watch.cancel()
        expect(await watch.code() == grpc.StatusCode.CANCELLED, await watch.code())
        await self.append("after a cancelled call")

    async def resume(self):
        stream = self.export()
        first = await stream.read()
        stream.cancel()
        ids = [message.id for message in first.messages]
        async for response in self.export(first.resume_token):
            ids += [message.id for message in response.messages]
        expect_all_messages(ids, response.manifest)

    async def gzip(self):
        answer = await self.append(TEXT * 50, compression=grpc.Compression.Gzip)
        expect(answer.message.text == TEXT * 50, "another text")

    async def large_answer(self):
        request = conversation_pb2.ListMessagesRequest(page_size=200)
        answer = await self.conversation.ListMessages(request, metadata=METADATA)
        expect(answer.ByteSize() > LARGE, answer.ByteSize())

    async def too_large(self):
        error = await failure(self.append("a" * (2 << 20)))
        expect(error.code() == grpc.StatusCode.RESOURCE_EXHAUSTED, f"{error.code()}: {error.details()}")
        expect(detail(error, error_details_pb2.ErrorInfo()).reason == "MESSAGE_TOO_LARGE", "another reason")


async def main():
    print_version("grpcio")
    await run_async(Cases())


asyncio.run(main())
