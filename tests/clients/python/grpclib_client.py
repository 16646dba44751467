"""The cases with grpclib, which has HTTP/2 and gRPC in Python, for asyncio."""

import asyncio
import os
import time

from google.rpc import error_details_pb2
import reflection_grpc
import reflection_pb2
from grpclib.const import Status
from grpclib.exceptions import GRPCError
from haven.data.v1 import conversation_grpc, conversation_pb2, crisis_grpc, crisis_pb2, person_grpc, person_pb2
from haven.identity.v1 import account_grpc, account_pb2, session_grpc, session_pb2

from outcomes import DATA, IDENTITY, LARGE, TEXT, channel, expect, expect_all_messages, print_version, request_id, run_async

METADATA = {"authorization": f"Bearer {os.environ['HAVEN_TOKEN']}"}
USER = conversation_pb2.SENDER_TYPE_USER


def detail(error, kind):
    """Returns the detail of a failure that has the type `kind`, or fails. grpclib has decoded them."""
    for found in error.details or []:
        if isinstance(found, kind):
            return found
    raise AssertionError(f"no {kind.__name__}")


async def failure(call):
    """Returns the failure of a call."""
    try:
        await call
    except GRPCError as error:
        return error
    raise AssertionError("the call succeeded")


class Cases:
    def __init__(self):
        data = channel(DATA)
        self.conversation = conversation_grpc.ConversationServiceStub(data)
        self.person = person_grpc.PersonServiceStub(data)
        self.reflection = reflection_grpc.ServerReflectionStub(data)
        self.session = session_grpc.SessionServiceStub(channel(IDENTITY))
        self.account = account_grpc.AccountServiceStub(channel(IDENTITY, certified=True))
        self.crisis = crisis_grpc.CrisisServiceStub(channel(DATA, certified=True))

    def append(self, text):
        request = conversation_pb2.AppendMessageRequest(sender_type=USER, text=text, request_id=request_id())
        return self.conversation.AppendMessage(request, metadata=METADATA)

    async def unary(self):
        message = (await self.append(TEXT)).message
        request = conversation_pb2.GetMessageRequest(message_id=message.id)
        answer = await self.conversation.GetMessage(request, metadata=METADATA)
        expect(answer.message.text == TEXT, "another text")

    def export(self, token=""):
        request = person_pb2.ExportDataRequest(resume_token=token)
        return self.person.ExportData(request, metadata=METADATA)

    async def server_stream(self):
        ids, responses = [], await self.export()
        for response in responses:
            ids += [message.id for message in response.messages]
        expect_all_messages(ids, responses[-1].manifest)

    async def client_stream(self):
        accounts = [
            account_pb2.ImportAccountsRequest(
                user_id=request_id(), email=f"{request_id()}@example.org", goals=[account_pb2.GOAL_BUILD_CONFIDENCE]
            )
            for _ in range(2)
        ]
        answer = await self.account.ImportAccounts(accounts)
        expect(answer.created_count == 2, answer)
        answer = await self.account.ImportAccounts(accounts)
        expect(answer.existing_count == 2, answer)

    async def bidi_stream(self):
        ask = reflection_pb2.ServerReflectionRequest
        async with self.reflection.ServerReflectionInfo.open() as stream:
            await stream.send_message(ask(list_services=""))
            answer = await stream.recv_message()
            names = [service.name for service in answer.list_services_response.service]
            expect("haven.data.v1.ConversationService" in names, "the service is not listed")
            await stream.send_message(ask(file_containing_symbol="haven.data.v1.ConversationService"), end=True)
            expect((await stream.recv_message()).file_descriptor_response.file_descriptor_proto, "no file")
            expect(await stream.recv_message() is None, "a third answer")

    async def certificate(self):
        async with self.crisis.WatchCrisisEvents.open() as stream:
            await stream.send_message(crisis_pb2.WatchCrisisEventsRequest(), end=True)
            expect((await stream.recv_message()).event.id, "no event")
            await stream.cancel()

    async def details(self):
        request = conversation_pb2.AppendMessageRequest(request_id="x")
        error = await failure(self.conversation.AppendMessage(request, metadata=METADATA))
        expect(error.status == Status.INVALID_ARGUMENT, error.status)
        info = detail(error, error_details_pb2.ErrorInfo)
        expect((info.reason, info.domain) == ("INVALID_FIELD", "haven"), info)
        fields = {violation.field for violation in detail(error, error_details_pb2.BadRequest).field_violations}
        expect({"request_id", "text", "sender_type"} <= fields, fields)
        expect(detail(error, error_details_pb2.RequestInfo).request_id, "no request id")

    async def retry_info(self):
        request = session_pb2.SignInRequest(
            email=os.environ["HAVEN_EMAIL"], password=os.environ["HAVEN_PASSWORD"], request_id=request_id()
        )
        error = await failure(self.session.SignIn(request))
        expect(error.status == Status.RESOURCE_EXHAUSTED, error.status)
        expect(detail(error, error_details_pb2.ErrorInfo).reason == "RATE_LIMITED", "another reason")
        expect(detail(error, error_details_pb2.RetryInfo).retry_delay.seconds > 0, "no delay")

    async def deadline(self):
        request = crisis_pb2.WatchCrisisEventsRequest()
        started = time.monotonic()
        try:
            await self.crisis.WatchCrisisEvents(request, timeout=1)
        except (asyncio.TimeoutError, TimeoutError):
            pass
        except GRPCError as error:
            expect(error.status == Status.DEADLINE_EXCEEDED, error.status)
        else:
            raise AssertionError("the call succeeded")
        expect(time.monotonic() - started > 0.9, "too early")

    async def cancel(self):
        async with self.crisis.WatchCrisisEvents.open() as stream:
            await stream.send_message(crisis_pb2.WatchCrisisEventsRequest(), end=True)
            await stream.recv_message()
            await stream.cancel()
        async with self.crisis.WatchCrisisEvents.open() as stream:
            await stream.send_message(crisis_pb2.WatchCrisisEventsRequest(), end=True)
            expect((await stream.recv_message()).event.id, "no event after a cancelled call")
            await stream.cancel()

    async def resume(self):
        async with self.person.ExportData.open(metadata=METADATA) as stream:
            await stream.send_message(person_pb2.ExportDataRequest(), end=True)
            first = await stream.recv_message()
            await stream.cancel()
        ids = [message.id for message in first.messages]
        responses = await self.export(first.resume_token)
        for response in responses:
            ids += [message.id for message in response.messages]
        expect_all_messages(ids, responses[-1].manifest)

    async def gzip(self):
        raise NotImplementedError("the library has no compression")

    async def large_answer(self):
        request = conversation_pb2.ListMessagesRequest(page_size=200)
        answer = await self.conversation.ListMessages(request, metadata=METADATA)
        expect(answer.ByteSize() > LARGE, answer.ByteSize())

    async def too_large(self):
        error = await failure(self.append("a" * (2 << 20)))
        expect(error.status == Status.RESOURCE_EXHAUSTED, f"{error.status}: {error.message}")
        expect(detail(error, error_details_pb2.ErrorInfo).reason == "MESSAGE_TOO_LARGE", "another reason")


async def main():
    print_version("grpclib")
    await run_async(Cases())


asyncio.run(main())
