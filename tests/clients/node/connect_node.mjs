// The cases with @connectrpc/connect-node and its transport for gRPC, with code of @bufbuild/protoc-gen-es.

import { Code, ConnectError, createClient } from '@connectrpc/connect';
import { compressionGzip, createGrpcTransport } from '@connectrpc/connect-node';
import { BadRequestSchema, ErrorInfoSchema, RequestInfoSchema, RetryInfoSchema } from './gen/google/rpc/error_details_pb.js';
import { ConversationService, SenderType } from './gen/haven/data/v1/conversation_pb.js';
import { CrisisService } from './gen/haven/data/v1/crisis_pb.js';
import { PersonService } from './gen/haven/data/v1/person_pb.js';
import { AccountService, Goal } from './gen/haven/identity/v1/account_pb.js';
import { SessionService } from './gen/haven/identity/v1/session_pb.js';
import { ServerReflection } from './gen/reflection_pb.js';
import { LARGE, TEXT, env, expect, expectAllMessages, file, printVersion, requestId, run } from './outcomes.mjs';

const transport = (address, nodeOptions = {}, more = {}) =>
  createGrpcTransport({ baseUrl: `https://${address}`, nodeOptions: { ca: file('HAVEN_CA'), ...nodeOptions }, ...more });
const data = transport(env.HAVEN_DATA);
const conversation = createClient(ConversationService, data);
const person = createClient(PersonService, data);
const reflection = createClient(ServerReflection, data);
const session = createClient(SessionService, transport(env.HAVEN_IDENTITY));
const certified = { cert: file('HAVEN_CERTIFICATE'), key: file('HAVEN_KEY') };
const account = createClient(AccountService, transport(env.HAVEN_IDENTITY, certified));
const crisis = createClient(CrisisService, transport(env.HAVEN_DATA, certified));
const headers = { authorization: `Bearer ${env.HAVEN_TOKEN}` };

async function failure(call) {
  try {
    await call;
  } catch (error) {
    expect(error instanceof ConnectError, error);
    return error;
  }
  throw new Error('the call succeeded');
}

const expectCode = (error, code) => expect(error.code === code, `${Code[error.code]}: ${error.rawMessage}`);

function detail(error, schema) {
  const [found] = error.findDetails(schema);
  expect(found, `no ${schema.name}`);
  return found;
}

const append = (text, stub = conversation) =>
  stub.appendMessage({ senderType: SenderType.USER, text, requestId: requestId() }, { headers });

async function exported(resumeToken, ids) {
  let manifest;
  for await (const response of person.exportData({ resumeToken }, { headers })) {
    ids.push(...response.messages.map(({ id }) => id));
    manifest = response.manifest;
  }
  expectAllMessages(ids, manifest);
}

/** Returns the first response of a stream, and cancels it. */
async function first(start) {
  const aborting = new AbortController();
  let answer;
  const error = await failure(
    (async () => {
      for await (const response of start(aborting.signal)) {
        answer ??= response;
        aborting.abort();
      }
    })(),
  );
  expectCode(error, Code.Canceled);
  return answer;
}

const watch = (signal) => crisis.watchCrisisEvents({}, { signal });

printVersion('@connectrpc/connect-node');
await run({
  unary: async () => {
    const { message } = await append(TEXT);
    const answer = await conversation.getMessage({ messageId: message.id }, { headers });
    expect(answer.message.text === TEXT, 'another text');
  },
  'server stream': () => exported('', []),
  'client stream': async () => {
    const fields = () => ({ userId: requestId(), email: `${requestId()}@example.org`, goals: [Goal.BUILD_CONFIDENCE] });
    const accounts = [fields(), fields()];
    async function* sent() {
      yield* accounts;
    }
    for (const count of ['createdCount', 'existingCount']) {
      const answer = await account.importAccounts(sent());
      expect(answer[count] === 2, `${answer.createdCount} created, ${answer.existingCount} existing`);
    }
  },
  'bidi stream': async () => {
    let next;
    let asking = new Promise((resolve) => (next = resolve));
    const ask = (question) => next(question);
    async function* asked() {
      for (;;) {
        const question = await asking;
        asking = new Promise((resolve) => (next = resolve));
        if (question === null) return;
        yield question;
      }
    }
    ask({ messageRequest: { case: 'listServices', value: '' } });
    const answers = reflection.serverReflectionInfo(asked())[Symbol.asyncIterator]();
    const names = (await answers.next()).value.messageResponse.value.service.map(({ name }) => name);
    expect(names.includes('haven.data.v1.ConversationService'), 'the service is not listed');
    ask({ messageRequest: { case: 'fileContainingSymbol', value: 'haven.data.v1.ConversationService' } });
    expect((await answers.next()).value.messageResponse.value.fileDescriptorProto.length > 0, 'no file');
    ask(null);
    expect((await answers.next()).done, 'a third answer');
  },
  certificate: async () => expect((await first(watch)).event.id, 'no event'),
  details: async () => {
    const error = await failure(conversation.appendMessage({ requestId: 'x' }, { headers }));
    expectCode(error, Code.InvalidArgument);
    const info = detail(error, ErrorInfoSchema);
    expect(info.reason === 'INVALID_FIELD' && info.domain === 'haven', `${info.reason} of ${info.domain}`);
    const fields = detail(error, BadRequestSchema).fieldViolations.map(({ field }) => field);
    expect(['request_id', 'text', 'sender_type'].every((field) => fields.includes(field)), fields.join());
    expect(detail(error, RequestInfoSchema).requestId, 'no request id');
  },
  'retry info': async () => {
    const request = { email: env.HAVEN_EMAIL, password: env.HAVEN_PASSWORD, requestId: requestId() };
    const error = await failure(session.signIn(request));
    expectCode(error, Code.ResourceExhausted);
    expect(detail(error, ErrorInfoSchema).reason === 'RATE_LIMITED', 'another reason');
    expect(Number(detail(error, RetryInfoSchema).retryDelay.seconds) > 0, 'no delay');
  },
  deadline: async () => {
    const read = async () => {
      for await (const _ of crisis.watchCrisisEvents({}, { timeoutMs: 1000 }));
    };
    const started = Date.now();
    expectCode(await failure(read()), Code.DeadlineExceeded);
    expect(Date.now() - started > 900, 'too early');
  },
  cancel: async () => {
    await first(watch);
    await append('after a cancelled call');
  },
  resume: async () => {
    const { resumeToken, messages } = await first((signal) => person.exportData({}, { headers, signal }));
    await exported(resumeToken, messages.map(({ id }) => id));
  },
  gzip: async () => {
    const compressed = transport(env.HAVEN_DATA, {}, { sendCompression: compressionGzip, compressMinBytes: 0 });
    const { message } = await append(TEXT.repeat(50), createClient(ConversationService, compressed));
    expect(message.text === TEXT.repeat(50), 'another text');
  },
  'large answer': async () => {
    const { messages } = await conversation.listMessages({ pageSize: 200 }, { headers });
    const bytes = messages.reduce((sum, { text }) => sum + Buffer.byteLength(text), 0);
    expect(bytes > LARGE, `${bytes} bytes`);
  },
  'too large': async () => {
    const error = await failure(append('a'.repeat(2 << 20)));
    expectCode(error, Code.ResourceExhausted);
    expect(detail(error, ErrorInfoSchema).reason === 'MESSAGE_TOO_LARGE', 'another reason');
  },
});
process.exit(0);
