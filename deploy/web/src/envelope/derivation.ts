import { argon2id } from "hash-wasm";
import type { KeyName } from "./binding.js";
import type { KeyDerivation } from "./envelope.js";
import { EnvelopeError } from "./error.js";
import { uuidBytes } from "./uuid.js";

/**
 * The greatest memory that a client gives to a derivation unless it is told otherwise, in KiB: 256 MiB. The server admits up to
 * 1 GiB, with which a phone ends the page instead of reporting an error.
 */
export const MEMORY_LIMIT_KIB = 262_144;

/** Derives a key of 32 bytes: argon2id of `secret || key_id || key_version`. Refuses more memory than `limitKib` before it takes any. */
export async function deriveKey(
  secret: Uint8Array,
  key: KeyName,
  salt: Uint8Array,
  { memoryKib, iterations, parallelism }: KeyDerivation,
  limitKib: number,
): Promise<Uint8Array<ArrayBuffer>> {
  if (memoryKib > limitKib) {
    throw new EnvelopeError("MEMORY_LIMIT", `the key needs ${memoryKib} KiB of memory, and the limit is ${limitKib}`);
  }
  const password = new Uint8Array(secret.length + 20);
  password.set(secret);
  password.set(uuidBytes("keyId", key.keyId), secret.length);
  new DataView(password.buffer).setUint32(secret.length + 16, key.keyVersion);
  try {
    const options = { password, salt, iterations, parallelism, memorySize: memoryKib, hashLength: 32 };
    const derived = await argon2id({ ...options, outputType: "binary" });
    const copy = new Uint8Array(derived);
    derived.fill(0);
    return copy;
  } catch (error) {
    // WebAssembly that gets no memory leaves an array that is longer than its buffer.
    if (error instanceof RangeError || error instanceof WebAssembly.RuntimeError) {
      throw new EnvelopeError("OUT_OF_MEMORY", `the browser did not give ${memoryKib} KiB of memory`);
    }
    throw error;
  } finally {
    password.fill(0);
  }
}
