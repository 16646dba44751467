"""The cases with betterproto2: dataclasses, and stubs that call through grpclib."""

import asyncio
import os
import time

from google.rpc import error_details_pb2
from grpclib.const import Status
from grpclib.exceptions import GRPCError

from betterproto2_stubs.grpc.reflection.v1 import ServerReflectionRequest, ServerReflectionStub
from betterproto2_stubs.haven.data.v1 import (
    AppendMessageRequest,
    ConversationServiceStub,
    CrisisServiceStub,
    ExportDataRequest,
    GetMessageRequest,
    ListMessagesRequest,
    PersonServiceStub,
    SenderType,
    WatchCrisisEventsRequest,
)
from betterproto2_stubs.haven.identity.v1 import (
    AccountServiceStub,
    Goal,
    ImportAccountsRequest,
    SessionServiceStub,
    SignInRequest,
)
from outcomes import (
    DATA,
    IDENTITY,
    LARGE,
    TEXT,
    channel,
    expect,
    expect_all_messages,
    print_version,
    request_id,
    run_async,
)

METADATA = {"authorization": f"Bearer {os.environ['HAVEN_TOKEN']}"}


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
        self.conversation = ConversationServiceStub(data)
        self.person = PersonServiceStub(data)
        self.reflection = ServerReflectionStub(data)
        self.session = SessionServiceStub(channel(IDENTITY))
        self.account = AccountServiceStub(channel(IDENTITY, certified=True))
        self.crisis = CrisisServiceStub(channel(DATA, certified=True))

    def append(self, text):
        request = AppendMessageRequest(sender_type=SenderType.USER, text=text, request_id=request_id())
        return self.conversation.append_message(request, metadata=METADATA)

    async def unary(self):
        message = (await self.append(TEXT)).message
        answer = await self.conversation.get_message(GetMessageRequest(message_id=message.id), metadata=METADATA)
        expect(answer.message.text == TEXT, "another text")

    def export(self, token=""):
        return self.person.export_data(ExportDataRequest(resume_token=token), metadata=METADATA)

    async def server_stream(self):
        ids = []
        async for response in self.export():
            ids += [message.id for message in response.messages]
        expect_all_messages(ids, response.manifest)

    async def client_stream(self):
        accounts = [
            ImportAccountsRequest(
                user_id=request_id(), email=f"{request_id()}@example.org", goals=[Goal.BUILD_CONFIDENCE]
            )
            for _ in range(2)
        ]
        answer = await self.account.import_accounts(accounts)
        expect(answer.created_count == 2, answer)
        answer = await self.account.import_accounts(accounts)
        expect(answer.existing_count == 2, answer)

    async def bidi_stream(self):
        questions = asyncio.Queue()

        async def asked():
            while (question := await questions.get()) is not None:
                yield question

        await questions.put(ServerReflectionRequest(list_services=""))
        answers = self.reflection.server_reflection_info(asked())
        names = [service.name for service in (await anext(answers)).list_services_response.service]
        expect("haven.data.v1.ConversationService" in names, "the service is not listed")
        await questions.put(ServerReflectionRequest(file_containing_symbol="haven.data.v1.ConversationService"))
        expect((await anext(answers)).file_descriptor_response.file_descriptor_proto, "no file")
        await questions.put(None)
        expect(await anext(answers, None) is None, "a third answer")

    def watch(self, **options):
        return self.crisis.watch_crisis_events(WatchCrisisEventsRequest(), **options)

    async def certificate(self):
        watch = self.watch()
        expect((await anext(watch)).event.id, "no event")
        await watch.aclose()

    async def details(self):
        error = await failure(
            self.conversation.append_message(AppendMessageRequest(request_id="x"), metadata=METADATA)
        )
        expect(error.status == Status.INVALID_ARGUMENT, error.status)
        info = detail(error, error_details_pb2.ErrorInfo)
        expect((info.reason, info.domain) == ("INVALID_FIELD", "haven"), info)
        fields = {violation.field for violation in detail(error, error_details_pb2.BadRequest).field_violations}
        expect({"request_id", "text", "sender_type"} <= fields, fields)
        expect(detail(error, error_details_pb2.RequestInfo).request_id, "no request id")

    async def retry_info(self):
        request = SignInRequest(
            email=os.environ["HAVEN_EMAIL"], password=os.environ["HAVEN_PASSWORD"], request_id=request_id()
        )
        error = await failure(self.session.sign_in(request))
        expect(error.status == Status.RESOURCE_EXHAUSTED, error.status)
        expect(detail(error, error_details_pb2.ErrorInfo).reason == "RATE_LIMITED", "another reason")
        expect(detail(error, error_details_pb2.RetryInfo).retry_delay.seconds > 0, "no delay")

    async def deadline(self):
        started = time.monotonic()
        try:
            async for _ in self.watch(timeout=1):
                pass
        except TimeoutError:
            pass
        except GRPCError as error:
            expect(error.status == Status.DEADLINE_EXCEEDED, error.status)
        else:
            raise AssertionError("the call succeeded")
        expect(time.monotonic() - started > 0.9, "too early")

    async def cancel(self):
        watch = self.watch()
        await anext(watch)
        await watch.aclose()
        again = self.watch()
        expect((await anext(again)).event.id, "no event after a cancelled call")
        await again.aclose()

    async def resume(self):
        stream = self.export()
        first = await anext(stream)
        await stream.aclose()
        ids = [message.id for message in first.messages]
        async for response in self.export(first.resume_token):
            ids += [message.id for message in response.messages]
        expect_all_messages(ids, response.manifest)

    async def gzip(self):
        raise NotImplementedError("the library has no compression")

    async def large_answer(self):
        answer = await self.conversation.list_messages(ListMessagesRequest(page_size=200), metadata=METADATA)
        expect(len(bytes(answer)) > LARGE, len(bytes(answer)))

    async def too_large(self):
        error = await failure(self.append("a" * (2 << 20)))
        expect(error.status == Status.RESOURCE_EXHAUSTED, f"{error.status}: {error.message}")
        expect(detail(error, error_details_pb2.ErrorInfo).reason == "MESSAGE_TOO_LARGE", "another reason")


async def main():
    print_version("betterproto2", "grpclib")
    await run_async(Cases())


asyncio.run(main())
