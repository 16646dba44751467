// The cases with @grpc/grpc-js; with the argument `restarts`, calls until standard input ends.

import { promisify } from 'node:util';
import grpc from '@grpc/grpc-js';
import { LARGE, TEXT, env, expect, expectAllMessages, file, printVersion, requestId, run } from './outcomes.mjs';
import { contracts, detail, expectDelay, expectViolations } from './protos.mjs';

const { status } = grpc;
const { data, identity } = { data: contracts.haven.data.v1, identity: contracts.haven.identity.v1 };
const plain = grpc.credentials.createSsl(file('HAVEN_CA'));
const certified = grpc.credentials.createSsl(file('HAVEN_CA'), file('HAVEN_KEY'), file('HAVEN_CERTIFICATE'));
const token = new grpc.Metadata();
token.set('authorization', `Bearer ${env.HAVEN_TOKEN}`);

/** Returns a client's unary RPC as a function that returns a promise. */
const rpc = (client, name) => promisify(client[name]).bind(client);

async function failure(call) {
  try {
    await call;
  } catch (error) {
    return error;
  }
  throw new Error('the call succeeded');
}

const expectCode = (error, code) => expect(error.code === code, `${status[error.code]}: ${error.details}`);

function cases() {
  const conversation = new data.ConversationService(env.HAVEN_DATA, plain);
  const person = new data.PersonService(env.HAVEN_DATA, plain);
  const reflection = new contracts.grpc.reflection.v1.ServerReflection(env.HAVEN_DATA, plain);
  const session = new identity.SessionService(env.HAVEN_IDENTITY, plain);
  const account = new identity.AccountService(env.HAVEN_IDENTITY, certified);
  const crisis = new data.CrisisService(env.HAVEN_DATA, certified);

  const append = (text, client = conversation) =>
    rpc(client, 'AppendMessage')({ sender_type: 'SENDER_TYPE_USER', text, request_id: requestId() }, token);

  async function exported(resume_token, ids) {
    let manifest;
    for await (const response of person.ExportData({ resume_token }, token)) {
      ids.push(...response.messages.map(({ id }) => id));
      manifest = response.manifest;
    }
    expectAllMessages(ids, manifest);
  }

  /** Returns the first response of a stream, and cancels it. */
  const first = (stream) =>
    new Promise((resolve, reject) => {
      let answer;
      stream.on('data', (response) => {
        answer ??= response;
        stream.cancel();
      });
      stream.on('error', (error) => (error.code === status.CANCELLED && answer ? resolve(answer) : reject(error)));
    });

  return {
    unary: async () => {
      const { message } = await append(TEXT);
      const answer = await rpc(conversation, 'GetMessage')({ message_id: message.id }, token);
      expect(answer.message.text === TEXT, 'another text');
    },
    'server stream': () => exported('', []),
    'client stream': async () => {
      const fields = () => ({ user_id: requestId(), email: `${requestId()}@example.org`, goals: ['GOAL_BUILD_CONFIDENCE'] });
      const accounts = [fields(), fields()];
      for (const count of ['created_count', 'existing_count']) {
        const answer = await new Promise((resolve, reject) => {
          const stream = account.ImportAccounts((error, found) => (error ? reject(error) : resolve(found)));
          accounts.forEach((one) => stream.write(one));
          stream.end();
        });
        expect(answer[count] === 2, JSON.stringify(answer));
      }
    },
    'bidi stream': async () => {
      const stream = reflection.ServerReflectionInfo();
      const answers = stream[Symbol.asyncIterator]();
      stream.write({ list_services: '' });
      const names = (await answers.next()).value.list_services_response.service.map(({ name }) => name);
      expect(names.includes('haven.data.v1.ConversationService'), 'the service is not listed');
      stream.write({ file_containing_symbol: 'haven.data.v1.ConversationService' });
      expect((await answers.next()).value.file_descriptor_response.file_descriptor_proto.length > 0, 'no file');
      stream.end();
      expect((await answers.next()).done, 'a third answer');
    },
    certificate: async () => expect((await first(crisis.WatchCrisisEvents({}))).event.id, 'no event'),
    details: async () => {
      const error = await failure(rpc(conversation, 'AppendMessage')({ request_id: 'x' }, token));
      expectCode(error, status.INVALID_ARGUMENT);
      expectViolations(error.metadata);
    },
    'retry info': async () => {
      const request = { email: env.HAVEN_EMAIL, password: env.HAVEN_PASSWORD, request_id: requestId() };
      const error = await failure(rpc(session, 'SignIn')(request));
      expectCode(error, status.RESOURCE_EXHAUSTED);
      expectDelay(error.metadata);
    },
    deadline: async () => {
      const started = Date.now();
      const stream = crisis.WatchCrisisEvents({}, { deadline: Date.now() + 1000 });
      const error = await failure(
        new Promise((resolve, reject) => stream.on('data', () => {}).on('end', resolve).on('error', reject)),
      );
      expectCode(error, status.DEADLINE_EXCEEDED);
      expect(Date.now() - started > 900, 'too early');
    },
    cancel: async () => {
      await first(crisis.WatchCrisisEvents({}));
      await append('after a cancelled call');
    },
    resume: async () => {
      const { resume_token, messages } = await first(person.ExportData({}, token));
      await exported(resume_token, messages.map(({ id }) => id));
    },
    gzip: async () => {
      const options = { 'grpc.default_compression_algorithm': 2 };
      const { message } = await append(TEXT.repeat(50), new data.ConversationService(env.HAVEN_DATA, plain, options));
      expect(message.text === TEXT.repeat(50), 'another text');
    },
    'large answer': async () => {
      const { messages } = await rpc(conversation, 'ListMessages')({ page_size: 200 }, token);
      const bytes = messages.reduce((sum, { text }) => sum + Buffer.byteLength(text), 0);
      expect(bytes > LARGE, `${bytes} bytes`);
    },
    'too large': async () => {
      const error = await failure(append('a'.repeat(2 << 20)));
      expectCode(error, status.RESOURCE_EXHAUSTED);
      expect(detail(error.metadata, 'ErrorInfo').reason === 'MESSAGE_TOO_LARGE', 'another reason');
    },
  };
}

/** Calls both services, four callers at once, until standard input ends, through channels with the service config alone. */
async function restarts() {
  const options = {
    'grpc.service_config': file('HAVEN_SERVICE_CONFIG').toString(),
    'grpc.ssl_target_name_override': 'localhost',
  };
  const account = new identity.AccountService(`ipv4:${env.HAVEN_IDENTITY_REPLICAS}`, plain, options);
  const conversation = new data.ConversationService(`ipv4:${env.HAVEN_DATA_REPLICAS}`, plain, options);
  let ended = false;
  let appended = 0;
  process.stdin.on('end', () => (ended = true)).resume();
  const call = async () => {
    while (!ended) {
      try {
        const limit = { deadline: Date.now() + 30_000 };
        await rpc(account, 'GetAccount')({}, token, limit);
        const request = { sender_type: 'SENDER_TYPE_USER', text: 'x', request_id: requestId() };
        await rpc(conversation, 'AppendMessage')(request, token, limit);
        appended += 1;
        console.log('round');
      } catch (error) {
        console.log(`failed\t${status[error.code]}: ${error.details}`);
      }
    }
  };
  await Promise.all([call(), call(), call(), call()]);
  console.log(`appended\t${appended}`);
}

if (process.argv[2] === 'restarts') {
  await restarts();
} else {
  printVersion('@grpc/grpc-js', '@grpc/proto-loader');
  await run(cases());
}
process.exit(0);
