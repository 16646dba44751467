import { xchacha20poly1305 } from "@noble/ciphers/chacha.js";
import { Algorithm } from "./envelope.js";
import { EnvelopeError } from "./error.js";

type Bytes = Uint8Array<ArrayBuffer>;

/** Encrypts `content`. Returns the ciphertext followed by the tag. The lengths of `key` and `nonce` are checked before. */
export async function encrypt(
  algorithm: Algorithm,
  key: Bytes,
  nonce: Uint8Array,
  data: Bytes,
  content: Uint8Array,
): Promise<Bytes> {
  if (algorithm === Algorithm.XCHACHA20_POLY1305) {
    return owned(xchacha20poly1305(key, nonce, data).encrypt(content));
  }
  const { subtle } = webCrypto();
  const aes = await subtle.importKey("raw", key, "AES-GCM", false, ["encrypt"]);
  return new Uint8Array(await subtle.encrypt(gcm(nonce, data), aes, owned(content)));
}

/** Decrypts `payload`. Throws WRONG_KEY_OR_CHANGED when its tag does not belong to it. */
export async function decrypt(
  algorithm: Algorithm,
  key: Bytes,
  nonce: Uint8Array,
  data: Bytes,
  payload: Uint8Array,
): Promise<Bytes> {
  if (algorithm === Algorithm.XCHACHA20_POLY1305) {
    try {
      return owned(xchacha20poly1305(key, nonce, data).decrypt(payload));
    } catch {
      throw wrongKeyOrChanged();
    }
  }
  const { subtle } = webCrypto();
  const aes = await subtle.importKey("raw", key, "AES-GCM", false, ["decrypt"]);
  try {
    return new Uint8Array(await subtle.decrypt(gcm(nonce, data), aes, owned(payload)));
  } catch {
    throw wrongKeyOrChanged();
  }
}

function gcm(nonce: Uint8Array, data: Bytes): AesGcmParams {
  return { name: "AES-GCM", iv: owned(nonce), additionalData: data, tagLength: 128 };
}

function webCrypto(): Crypto {
  if (!globalThis.crypto?.subtle) {
    throw new EnvelopeError("NO_WEBCRYPTO", "AES_256_GCM needs WebCrypto, which needs HTTPS or localhost");
  }
  return globalThis.crypto;
}

function wrongKeyOrChanged(): EnvelopeError {
  return new EnvelopeError(
    "WRONG_KEY_OR_CHANGED",
    "decryption failed: the payload was changed, or is bound to another content or key",
  );
}

/** Returns the bytes in an `ArrayBuffer`, as WebCrypto demands; copied if they are in shared memory. */
function owned(bytes: Uint8Array): Bytes {
  return bytes.buffer instanceof ArrayBuffer ? (bytes as Bytes) : new Uint8Array(bytes);
}
