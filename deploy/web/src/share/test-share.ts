import { create } from "@bufbuild/protobuf";
import { timestampFromDate } from "@bufbuild/protobuf/wkt";
import { Code, ConnectError, createClient, createRouterTransport } from "@connectrpc/connect";
import { Algorithm, Secret, shareBinding, shareFragment } from "../envelope";
import { BadRequestSchema, ErrorInfoSchema, RetryInfoSchema } from "../gen/google/rpc/error_details_pb";
import { CryptoEnvelopeSchema } from "../gen/haven/data/v1/envelope_pb";
import {
  type OpenShareRequest,
  type OpenShareResponse,
  OpenShareResponseSchema,
  ShareService,
} from "../gen/haven/data/v1/share_pb";
import { decryptShare } from "./decrypt-share";
import { DecryptionError, type Decryptor } from "./decryption";

export const token = "AAECAwQFBgcICQoLDA0ODxAREhMUFRYXGBkaGxwdHh8";
const userId = "01990000-0000-7000-8000-000000000001";
const shareId = "01990000-0000-7000-8000-000000000003";
const keyId = "01990000-0000-7000-8000-00000000000b";

export interface SealedShare {
  fragment: string;
  secret: Secret;
  answer: OpenShareResponse;
}

/** Seals a content as the device of a sharing person does. */
export async function sealShare(
  content: string | Uint8Array,
  algorithm: Algorithm = Algorithm.XCHACHA20_POLY1305,
): Promise<SealedShare> {
  const secret = Secret.generate();
  const bytes = typeof content === "string" ? new TextEncoder().encode(content) : content;
  const { payload, envelope } = await secret.seal(bytes, shareBinding(userId, shareId), {
    keyId,
    keyVersion: 1,
    algorithm,
  });
  const answer = create(OpenShareResponseSchema, {
    encryptedShareData: payload,
    cryptoEnvelope: create(CryptoEnvelopeSchema, envelope),
    shareId,
    userId,
    createTime: timestampFromDate(new Date("2026-03-01T10:00:00Z")),
    expireTime: timestampFromDate(new Date("2026-03-08T10:00:00Z")),
  });
  return { fragment: `#${shareFragment({ token, secret: secret.expose() })}`, secret, answer };
}

/** A client of a service that answers as `open` says. Failures pass through the library of the RPC, with their details. */
export function clientOf(open: (request: OpenShareRequest) => OpenShareResponse | Promise<OpenShareResponse>) {
  return createClient(
    ShareService,
    createRouterTransport(({ service }) => service(ShareService, { openShare: open })),
  );
}

/** A failure as the service sends it. */
export function failureWith(
  reason: string,
  more: { retrySeconds?: number; violations?: { field: string; reason: string; description: string }[] } = {},
): ConnectError {
  const details = [
    { desc: ErrorInfoSchema, value: { reason, domain: "haven" } },
    ...(more.retrySeconds === undefined
      ? []
      : [{ desc: RetryInfoSchema, value: { retryDelay: { seconds: BigInt(more.retrySeconds) } } }]),
    ...(more.violations ? [{ desc: BadRequestSchema, value: { fieldViolations: more.violations } }] : []),
  ];
  return new ConnectError(reason, Code.NotFound, undefined, details);
}

/** The work of the worker, in this process. */
export class LocalDecryptor implements Decryptor {
  ended = false;

  async decrypt(share: Parameters<Decryptor["decrypt"]>[0]): Promise<Uint8Array> {
    const message = await decryptShare(structuredClone(share));
    if (message.kind === "content") {
      return message.content;
    }
    throw new DecryptionError(message.kind === "failed" ? message.code : "WORKER");
  }

  end = () => {
    this.ended = true;
  };
}
