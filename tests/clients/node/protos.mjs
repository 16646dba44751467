// The contracts, loaded at run time with @grpc/proto-loader, and the details of a failure.

import grpc from '@grpc/grpc-js';
import protoLoader from '@grpc/proto-loader';
import protobuf from 'protobufjs';
import { env, expect } from './outcomes.mjs';

const FILES = [
  'haven/data/v1/conversation.proto',
  'haven/data/v1/crisis.proto',
  'haven/data/v1/person.proto',
  'haven/identity/v1/account.proto',
  'haven/identity/v1/session.proto',
  'reflection.proto',
];
const folders = [env.HAVEN_PROTO, env.HAVEN_CLIENT_PROTOS];

/** The services of Haven by package. Fields have the names of the protos, 64-bit numbers are strings, and enums are their names. */
export const contracts = grpc.loadPackageDefinition(
  protoLoader.loadSync(FILES, { includeDirs: folders, keepCase: true, longs: String, enums: String, defaults: true, oneofs: true }),
);

const details = new protobuf.Root();
details.resolvePath = (_, path) =>
  path.startsWith('google/protobuf') ? path : `${env.HAVEN_CLIENT_PROTOS}/${path.replace(/^.*?google\/rpc/, 'google/rpc')}`;
details.loadSync(['google/rpc/status.proto', 'google/rpc/error_details.proto']);

/** Returns the detail of a failure with the type `google.rpc.NAME`, from its trailers, or fails. */
export function detail(metadata, name) {
  const [bytes] = metadata.get('grpc-status-details-bin');
  expect(bytes, 'the failure has no details');
  for (const packed of details.lookupType('google.rpc.Status').decode(bytes).details) {
    if (packed.type_url.endsWith(`/google.rpc.${name}`)) {
      return details.lookupType(`google.rpc.${name}`).decode(packed.value);
    }
  }
  throw new Error(`no ${name}`);
}

export function expectViolations(metadata) {
  const info = detail(metadata, 'ErrorInfo');
  expect(info.reason === 'INVALID_FIELD' && info.domain === 'haven', `${info.reason} of ${info.domain}`);
  const fields = detail(metadata, 'BadRequest').fieldViolations.map(({ field }) => field);
  expect(['request_id', 'text', 'sender_type'].every((field) => fields.includes(field)), fields.join());
  expect(detail(metadata, 'RequestInfo').requestId, 'no request id');
}

export function expectDelay(metadata) {
  expect(detail(metadata, 'ErrorInfo').reason === 'RATE_LIMITED', 'another reason');
  expect(Number(detail(metadata, 'RetryInfo').retryDelay.seconds) > 0, 'no delay');
}
