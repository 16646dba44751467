// @vitest-environment node
import { randomBytes } from "node:crypto";
import * as hashWasm from "hash-wasm";
import { afterEach, expect, test, vi } from "vitest";
import {
  Algorithm,
  type Envelope,
  preferencesBinding,
  recordBinding,
  type SealOptions,
  Secret,
  shareBinding,
} from "./index.js";

vi.mock("hash-wasm", { spy: true });
afterEach(() => {
  vi.mocked(hashWasm.argon2id).mockClear();
  vi.unstubAllGlobals();
});

const userId = "01990000-0000-7000-8000-000000000001";
const recordId = "01990000-0000-7000-8000-000000000002";
const binding = recordBinding(userId, recordId, 1n);
const key: SealOptions = { keyId: "01990000-0000-7000-8000-00000000000a", keyVersion: 3 };

/** A secret, and what it sealed, with a change of its envelope. */
async function sealedWith(change: Partial<Envelope> = {}) {
  const secret = Secret.generate();
  const { payload, envelope } = await secret.seal(new Uint8Array([1, 2, 3]), binding, key);
  return { secret, payload, envelope: { ...envelope, ...change } };
}

test.each(Object.entries(Algorithm))("random content comes back: %s", async (_, algorithm) => {
  const secret = Secret.generate();
  const bindings = [binding, preferencesBinding(userId, 2n ** 40n), shareBinding(userId, recordId)];
  for (const length of [0, 1, 16, 1000, 65_520, 262_128]) {
    for (const bound of bindings) {
      const content = new Uint8Array(randomBytes(length));
      const { payload, envelope } = await secret.seal(content, bound, { ...key, algorithm });
      expect(payload.length).toBe(length + 16);
      expect(Buffer.from(await secret.open(payload, envelope, bound)).equals(content)).toBe(true);
      expect(envelope).toMatchObject({ keyId: key.keyId, keyVersion: 3, algorithm, envelopeVersion: 1 });
    }
  }
  expect(hashWasm.argon2id).toHaveBeenCalledOnce();
});

test("each encryption has its own nonce, and a salt that libsodium derives", async () => {
  const secret = Secret.generate();
  const seal = () => secret.seal(new Uint8Array(8), binding, key);
  const [first, second] = await Promise.all([seal(), seal()]);
  expect(first.envelope.nonce).not.toEqual(second.envelope.nonce);
  expect(first.envelope.salt).toEqual(second.envelope.salt);
  expect(first.envelope.salt).toHaveLength(16);
  expect(hashWasm.argon2id).toHaveBeenCalledOnce();
});

test.each<[string, string, Partial<Envelope>]>([
  ["another version", "UNKNOWN_VERSION", { envelopeVersion: 2 }],
  ["another layout", "UNKNOWN_VERSION", { associatedDataVersion: 0 }],
  ["no algorithm", "UNKNOWN_ALGORITHM", { algorithm: 0 }],
  ["a new algorithm", "UNKNOWN_ALGORITHM", { algorithm: 3 }],
  ["a long nonce", "OUT_OF_RANGE", { nonce: new Uint8Array(25) }],
  ["the nonce of AES", "OUT_OF_RANGE", { nonce: new Uint8Array(12) }],
  ["a long nonce of AES, which WebCrypto takes", "OUT_OF_RANGE", { algorithm: 2, nonce: new Uint8Array(16) }],
  ["a short salt", "OUT_OF_RANGE", { salt: new Uint8Array(15) }],
  ["a long salt", "OUT_OF_RANGE", { salt: new Uint8Array(65) }],
  ["no parameters", "OUT_OF_RANGE", { keyDerivation: undefined }],
  ["little memory", "OUT_OF_RANGE", { keyDerivation: { memoryKib: 19_455, iterations: 2, parallelism: 1 } }],
  ["one pass", "OUT_OF_RANGE", { keyDerivation: { memoryKib: 19_456, iterations: 1, parallelism: 1 } }],
  ["many passes", "OUT_OF_RANGE", { keyDerivation: { memoryKib: 19_456, iterations: 65, parallelism: 1 } }],
  ["no lane", "OUT_OF_RANGE", { keyDerivation: { memoryKib: 19_456, iterations: 2, parallelism: 0 } }],
  ["many lanes", "OUT_OF_RANGE", { keyDerivation: { memoryKib: 19_456, iterations: 2, parallelism: 17 } }],
  ["half a pass", "OUT_OF_RANGE", { keyDerivation: { memoryKib: 19_456, iterations: 2.5, parallelism: 1 } }],
  [
    "more memory than the server takes",
    "OUT_OF_RANGE",
    {
      keyDerivation: { memoryKib: 1_048_577, iterations: 2, parallelism: 1 },
    },
  ],
  [
    "more memory than a browser has",
    "MEMORY_LIMIT",
    {
      keyDerivation: { memoryKib: 262_145, iterations: 2, parallelism: 1 },
    },
  ],
  ["a negative key version", "OUT_OF_RANGE", { keyVersion: -1 }],
  ["a key that is no UUID", "OUT_OF_RANGE", { keyId: "0199" }],
])("an envelope with %s is refused with %s, and takes no memory", async (_, code, change) => {
  const { secret, payload, envelope } = await sealedWith(change);
  vi.mocked(hashWasm.argon2id).mockClear();
  await expect(secret.open(payload, envelope, binding)).rejects.toMatchObject({ code });
  expect(hashWasm.argon2id).not.toHaveBeenCalled();
});

test("the limit of memory can be raised", async () => {
  const { payload, envelope, secret } = await sealedWith();
  const bytes = secret.expose();
  const open = (limit: number) => new Secret(bytes, limit).open(payload, envelope, binding);
  await expect(open(19_455)).rejects.toMatchObject({ code: "MEMORY_LIMIT" });
  await expect(open(19_456)).resolves.toEqual(new Uint8Array([1, 2, 3]));
});

test("a browser that gives no memory is told apart from a wrong key, and the next call tries again", async () => {
  const { payload, envelope, secret } = await sealedWith();
  const fresh = new Secret(secret.expose());
  vi.mocked(hashWasm.argon2id).mockRejectedValueOnce(new RangeError("Invalid typed array length"));
  await expect(fresh.open(payload, envelope, binding)).rejects.toMatchObject({ code: "OUT_OF_MEMORY" });
  await expect(fresh.open(payload, envelope, binding)).resolves.toHaveLength(3);
});

test("AES without WebCrypto is refused with the reason", async () => {
  vi.stubGlobal("crypto", { getRandomValues: (bytes: Uint8Array) => bytes });
  const seal = new Secret(new Uint8Array(32)).seal(new Uint8Array(1), binding, { ...key, algorithm: 2 });
  await expect(seal).rejects.toMatchObject({ code: "NO_WEBCRYPTO" });
});

test.each<[string, Parameters<typeof recordBinding>]>([
  ["userId must be a UUID", ["", recordId, 1n]],
  ["recordId must be a UUID", [userId, "01990000000070008000000000000002", 1n]],
  ["version must be a bigint from 1", [userId, recordId, 0n]],
  ["version must be a bigint from 1", [userId, recordId, 2n ** 63n]],
  ["version must be a bigint from 1", [userId, recordId, 1 as unknown as bigint]],
])("a binding is refused: %s", async (message, parts) => {
  const seal = Secret.generate().seal(new Uint8Array(1), recordBinding(...parts), key);
  await expect(seal).rejects.toMatchObject({ code: "OUT_OF_RANGE", message: expect.stringContaining(message) });
});

test("a secret has 32 bytes, and no log shows it", () => {
  expect(() => new Secret(new Uint8Array(31))).toThrow("32 bytes");
  const secret = Secret.generate();
  expect(JSON.stringify(secret)).toBe("{}");
  expect(secret.expose()).toHaveLength(32);
});

test("a forgotten secret does nothing more, also for a call that has begun", async () => {
  const { payload, envelope, secret } = await sealedWith();
  const bytes = secret.expose();
  const begun = new Secret(bytes);
  const opening = begun.open(payload, envelope, binding);
  begun.forget();
  await expect(opening).rejects.toMatchObject({ code: "FORGOTTEN" });
  secret.forget();
  await expect(secret.open(payload, envelope, binding)).rejects.toMatchObject({ code: "FORGOTTEN" });
  await expect(secret.seal(payload, binding, key)).rejects.toMatchObject({ code: "FORGOTTEN" });
  expect(() => secret.expose()).toThrow("forgotten");
});

test("what a key is derived from is overwritten, and what the library returns too", async () => {
  await sealedWith();
  const { calls, results } = vi.mocked(hashWasm.argon2id).mock;
  const { password } = calls[0]?.[0] ?? expect.fail("no key was derived");
  expect(password).toEqual(new Uint8Array(52));
  expect(await results[0]?.value).toEqual(new Uint8Array(32));
});
