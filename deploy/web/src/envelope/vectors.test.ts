// @vitest-environment node
import { expect, test } from "vitest";
import { decrypt, encrypt } from "./cipher.js";
import { deriveKey, MEMORY_LIMIT_KIB } from "./derivation.js";
import { Algorithm, associatedData, type Binding, type Envelope, Kind, Secret } from "./index.js";
import { bytes, hex, readVectors, type Vector } from "./test-vectors.js";

const vectors = readVectors();
const another = "01990000-0000-7000-8000-0000000000ff";

/** The secret of the vector, with the vector's nonce in place of a random one. */
function secretOf({ secret, envelope }: Vector): Secret {
  return new Secret(secret, MEMORY_LIMIT_KIB, () => new Uint8Array(envelope.nonce));
}

test("there is a vector for each kind and algorithm", () => {
  const found = new Set(vectors.map(({ binding, algorithm }) => `${binding.kind} ${algorithm}`));
  const expected = Object.values(Kind).flatMap((kind) => Object.values(Algorithm).map((one) => `${kind} ${one}`));
  expect([...found].sort()).toEqual(expected.sort());
});

test.each(vectors)("the associated data: $name", (vector) => {
  const data = associatedData(vector.binding, vector.algorithm, vector.envelope);
  expect(hex(data)).toBe(vector.associatedData);
});

test.each(vectors)("the key: $name", async ({ secret, envelope, key }) => {
  const derivation = envelope.keyDerivation ?? expect.fail("the vector has no parameters");
  expect(hex(await deriveKey(secret, envelope, envelope.salt, derivation, MEMORY_LIMIT_KIB))).toBe(key);
});

test.each(vectors)("the cipher: $name", async ({ algorithm, envelope, key, associatedData, content, payload }) => {
  const data = bytes(associatedData);
  const made = await encrypt(algorithm, bytes(key), envelope.nonce, data, new TextEncoder().encode(content));
  expect(hex(made)).toBe(hex(payload));
  const opened = await decrypt(algorithm, bytes(key), envelope.nonce, data, payload);
  expect(new TextDecoder().decode(opened)).toBe(content);
});

test.each(vectors)("seal and open: $name", async (vector) => {
  const { envelope, binding, algorithm, content } = vector;
  const secret = secretOf(vector);
  const options = { keyId: envelope.keyId, keyVersion: envelope.keyVersion, salt: envelope.salt, algorithm };
  const derivation = envelope.keyDerivation ?? expect.fail("the vector has no parameters");
  const sealed = await secret.seal(new TextEncoder().encode(content), binding, {
    ...options,
    keyDerivation: derivation,
  });
  expect(hex(sealed.payload)).toBe(hex(vector.payload));
  expect(sealed.envelope).toEqual(envelope);
  const opened = await secret.open(vector.payload, envelope, binding);
  expect(new TextDecoder().decode(opened)).toBe(content);
});

test.each(vectors)("each bound field and each byte of the encryption counts: $name", async (vector) => {
  const { binding, envelope, payload } = vector;
  const secret = secretOf(vector);
  const bindings: Partial<Binding>[] = [
    { kind: binding.kind === Kind.SHARE ? Kind.RECORD : Kind.SHARE },
    { userId: another },
    { recordId: another },
    { version: binding.version + 1n },
  ];
  for (const change of bindings) {
    await refused(secret, payload, envelope, { ...binding, ...change });
  }
  const envelopes: Partial<Envelope>[] = [
    { keyId: another },
    { keyVersion: envelope.keyVersion === 1 ? 2 : 1 },
    { nonce: flipped(envelope.nonce, 0) },
    { salt: flipped(envelope.salt, envelope.salt.length - 1) },
    { keyDerivation: { memoryKib: 20_000, iterations: 2, parallelism: 1 } },
  ];
  for (const change of envelopes) {
    await refused(secret, payload, { ...envelope, ...change }, binding);
  }
  await refused(secret, flipped(payload, 0), envelope, binding);
  await refused(secret, flipped(payload, payload.length - 1), envelope, binding);
  await refused(secret, payload.subarray(0, payload.length - 1), envelope, binding);
  await refused(secret, payload.subarray(0, 15), envelope, binding);
  await refused(secret, new Uint8Array([...payload, 0]), envelope, binding);
  await refused(new Secret(flipped(vector.secret, 31)), payload, envelope, binding);
});

async function refused(secret: Secret, payload: Uint8Array, envelope: Envelope, binding: Binding): Promise<void> {
  await expect(secret.open(payload, envelope, binding)).rejects.toMatchObject({ code: "WRONG_KEY_OR_CHANGED" });
}

function flipped(original: Uint8Array, at: number): Uint8Array {
  const changed = new Uint8Array(original);
  changed[at] = (changed[at] ?? 0) ^ 1;
  return changed;
}
