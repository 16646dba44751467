// The cases with nice-grpc, which calls through @grpc/grpc-js; with the argument `restarts`, calls until standard input ends.

import { ChannelCredentials, ClientError, Metadata, Status, createChannel, createClientFactory } from 'nice-grpc';
import { deadlineMiddleware } from 'nice-grpc-client-middleware-deadline';
import { LARGE, TEXT, env, expect, expectAllMessages, file, printVersion, requestId, run } from './outcomes.mjs';
import { contracts, detail, expectDelay, expectViolations } from './protos.mjs';

const plain = ChannelCredentials.createSsl(file('HAVEN_CA'));
const certified = ChannelCredentials.createSsl(file('HAVEN_CA'), file('HAVEN_KEY'), file('HAVEN_CERTIFICATE'));
const metadata = Metadata({ authorization: `Bearer ${env.HAVEN_TOKEN}` });
const { data, identity } = { data: contracts.haven.data.v1, identity: contracts.haven.identity.v1 };
// The library itself sends no deadlines.
const factory = createClientFactory().use(deadlineMiddleware);
const client = (service, address, credentials, options) =>
  factory.create(service.service, createChannel(address, credentials, options));

const conversation = client(data.ConversationService, env.HAVEN_DATA, plain);
const person = client(data.PersonService, env.HAVEN_DATA, plain);
const reflection = client(contracts.grpc.reflection.v1.ServerReflection, env.HAVEN_DATA, plain);
const session = client(identity.SessionService, env.HAVEN_IDENTITY, plain);
const account = client(identity.AccountService, env.HAVEN_IDENTITY, certified);
const crisis = client(data.CrisisService, env.HAVEN_DATA, certified);

/** Returns the failure of a call, and its trailers, which the library gives to a callback alone. */
async function failure(call) {
  let trailer;
  try {
    await call({ metadata, onTrailer: (found) => (trailer = found) });
  } catch (error) {
    expect(error instanceof ClientError, error);
    return { error, trailers: { get: (name) => trailer.getAll(name) } };
  }
  throw new Error('the call succeeded');
}

const expectCode = ({ error }, code) => expect(error.code === code, `${Status[error.code]}: ${error.details}`);

const append = (text, options = { metadata }, stub = conversation) =>
  stub.AppendMessage({ sender_type: 'SENDER_TYPE_USER', text, request_id: requestId() }, options);

async function exported(resume_token, ids) {
  let manifest;
  for await (const response of person.ExportData({ resume_token }, { metadata })) {
    ids.push(...response.messages.map(({ id }) => id));
    manifest = response.manifest;
  }
  expectAllMessages(ids, manifest);
}

/** Returns the first response of a stream, and aborts it. */
async function first(start) {
  const aborting = new AbortController();
  let answer;
  try {
    for await (const response of start({ metadata, signal: aborting.signal })) {
      answer ??= response;
      aborting.abort();
    }
  } catch (error) {
    if (error.name !== 'AbortError') throw error;
    return answer;
  }
  throw new Error('the stream was not aborted');
}

const watch = (options) => crisis.WatchCrisisEvents({}, { ...options, metadata: undefined });

const cases = {
  unary: async () => {
    const { message } = await append(TEXT);
    const answer = await conversation.GetMessage({ message_id: message.id }, { metadata });
    expect(answer.message.text === TEXT, 'another text');
  },
  'server stream': () => exported('', []),
  'client stream': async () => {
    const fields = () => ({ user_id: requestId(), email: `${requestId()}@example.org`, goals: ['GOAL_BUILD_CONFIDENCE'] });
    const accounts = [fields(), fields()];
    async function* sent() {
      yield* accounts;
    }
    for (const count of ['created_count', 'existing_count']) {
      const answer = await account.ImportAccounts(sent());
      expect(answer[count] === 2, JSON.stringify(answer));
    }
  },
  'bidi stream': async () => {
    const questions = [];
    let wake;
    const ask = (question) => (questions.push(question), wake?.());
    async function* asked() {
      for (;;) {
        while (questions.length > 0) {
          const question = questions.shift();
          if (question === null) return;
          yield question;
        }
        await new Promise((resolve) => (wake = resolve));
      }
    }
    ask({ list_services: '' });
    const answers = reflection.ServerReflectionInfo(asked())[Symbol.asyncIterator]();
    const names = (await answers.next()).value.list_services_response.service.map(({ name }) => name);
    expect(names.includes('haven.data.v1.ConversationService'), 'the service is not listed');
    ask({ file_containing_symbol: 'haven.data.v1.ConversationService' });
    expect((await answers.next()).value.file_descriptor_response.file_descriptor_proto.length > 0, 'no file');
    ask(null);
    expect((await answers.next()).done, 'a third answer');
  },
  certificate: async () => expect((await first(watch)).event.id, 'no event'),
  details: async () => {
    const found = await failure((options) => conversation.AppendMessage({ request_id: 'x' }, options));
    expectCode(found, Status.INVALID_ARGUMENT);
    expectViolations(found.trailers);
  },
  'retry info': async () => {
    const request = { email: env.HAVEN_EMAIL, password: env.HAVEN_PASSWORD, request_id: requestId() };
    const found = await failure(({ onTrailer }) => session.SignIn(request, { onTrailer }));
    expectCode(found, Status.RESOURCE_EXHAUSTED);
    expectDelay(found.trailers);
  },
  deadline: async () => {
    const started = Date.now();
    const found = await failure(async () => {
      for await (const _ of crisis.WatchCrisisEvents({}, { deadline: new Date(Date.now() + 1000) }));
    });
    expectCode(found, Status.DEADLINE_EXCEEDED);
    expect(Date.now() - started > 900, 'too early');
  },
  cancel: async () => {
    await first(watch);
    await append('after a cancelled call');
  },
  resume: async () => {
    const { resume_token, messages } = await first((options) => person.ExportData({}, options));
    await exported(resume_token, messages.map(({ id }) => id));
  },
  gzip: async () => {
    const stub = client(data.ConversationService, env.HAVEN_DATA, plain, { 'grpc.default_compression_algorithm': 2 });
    const { message } = await append(TEXT.repeat(50), { metadata }, stub);
    expect(message.text === TEXT.repeat(50), 'another text');
  },
  'large answer': async () => {
    const { messages } = await conversation.ListMessages({ page_size: 200 }, { metadata });
    const bytes = messages.reduce((sum, { text }) => sum + Buffer.byteLength(text), 0);
    expect(bytes > LARGE, `${bytes} bytes`);
  },
  'too large': async () => {
    const found = await failure((options) => append('a'.repeat(2 << 20), options));
    expectCode(found, Status.RESOURCE_EXHAUSTED);
    expect(detail(found.trailers, 'ErrorInfo').reason === 'MESSAGE_TOO_LARGE', 'another reason');
  },
};

/** Calls both services, four callers at once, until standard input ends, through channels with the service config alone. */
async function restarts() {
  const options = {
    'grpc.service_config': file('HAVEN_SERVICE_CONFIG').toString(),
    'grpc.ssl_target_name_override': 'localhost',
  };
  const account = client(identity.AccountService, `ipv4:${env.HAVEN_IDENTITY_REPLICAS}`, plain, options);
  const balanced = client(data.ConversationService, `ipv4:${env.HAVEN_DATA_REPLICAS}`, plain, options);
  let ended = false;
  let appended = 0;
  process.stdin.on('end', () => (ended = true)).resume();
  const call = async () => {
    while (!ended) {
      try {
        const limited = { metadata, deadline: new Date(Date.now() + 30_000) };
        await account.GetAccount({}, limited);
        await append('x', limited, balanced);
        appended += 1;
        console.log('round');
      } catch (error) {
        console.log(`failed\t${error.message}`);
      }
    }
  };
  await Promise.all([call(), call(), call(), call()]);
  console.log(`appended\t${appended}`);
}

if (process.argv[2] === 'restarts') {
  await restarts();
} else {
  printVersion('nice-grpc', 'nice-grpc-client-middleware-deadline');
  await run(cases);
}
process.exit(0);
