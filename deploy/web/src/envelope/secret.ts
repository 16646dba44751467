import { associatedData, type Binding, type KeyName } from "./binding.js";
import { decrypt, encrypt } from "./cipher.js";
import { deriveKey, MEMORY_LIMIT_KIB } from "./derivation.js";
import {
  Algorithm,
  checkEnvelope,
  type Envelope,
  type KeyDerivation,
  LEAST_KEY_DERIVATION,
  NONCE_LENGTH,
  requireAlgorithm,
  TAG_LENGTH,
  type ValidEnvelope,
} from "./envelope.js";
import { EnvelopeError, requireLength } from "./error.js";
import { type RandomSource, randomBytes } from "./random.js";
import { uuidBytes } from "./uuid.js";

/** How a content is encrypted. */
export interface SealOptions extends KeyName {
  /** XCHACHA20_POLY1305 unless it is given. */
  algorithm?: Algorithm;
  /** The salt of the key, the same for each content of the key. The 16 bytes of `keyId` unless it is given. */
  salt?: Uint8Array;
  /** The parameters of the key, the same for each content of the key. {@link LEAST_KEY_DERIVATION} unless they are given. */
  keyDerivation?: KeyDerivation;
}

/** An encrypted content: what is sent to Haven, and what comes back. */
export interface Sealed {
  payload: Uint8Array<ArrayBuffer>;
  envelope: ValidEnvelope;
}

/**
 * A secret that Haven never receives: the master key of a user, or the secret of one share. Keys are derived from it, once each.
 *
 * Its fields are private, so that neither a log nor JSON shows it.
 */
export class Secret {
  readonly #bytes: Uint8Array<ArrayBuffer>;
  readonly #memoryLimitKib: number;
  readonly #random: RandomSource;
  #keys = new Map<string, Promise<Uint8Array<ArrayBuffer>>>();
  #forgotten = false;

  /** Copies `bytes`, of which there must be 32. `random` is for tests alone. */
  constructor(bytes: Uint8Array, memoryLimitKib = MEMORY_LIMIT_KIB, random: RandomSource = randomBytes) {
    requireLength("the secret", bytes, 32);
    this.#bytes = new Uint8Array(bytes);
    this.#memoryLimitKib = memoryLimitKib;
    this.#random = random;
  }

  /** Makes a random secret. */
  static generate(): Secret {
    const bytes = randomBytes(32);
    const secret = new Secret(bytes);
    bytes.fill(0);
    return secret;
  }

  /** Returns a copy of the bytes, to wrap them for a device or to put them into a link. */
  expose(): Uint8Array<ArrayBuffer> {
    this.#requireKept();
    return new Uint8Array(this.#bytes);
  }

  /** Encrypts `content` with a new nonce. To retry a call, send the same result again instead. */
  async seal(content: Uint8Array, binding: Binding, options: SealOptions): Promise<Sealed> {
    const {
      keyId,
      keyVersion,
      algorithm = Algorithm.XCHACHA20_POLY1305,
      keyDerivation = LEAST_KEY_DERIVATION,
    } = options;
    requireAlgorithm(algorithm);
    const envelope: Envelope = {
      envelopeVersion: 1,
      algorithm,
      keyId,
      keyVersion,
      nonce: this.#random(NONCE_LENGTH[algorithm]),
      salt: new Uint8Array(options.salt ?? uuidBytes("keyId", keyId)),
      keyDerivation: { ...keyDerivation },
      associatedDataVersion: 1,
    };
    checkEnvelope(envelope);
    const data = associatedData(binding, algorithm, envelope);
    const key = await this.#key(envelope);
    const payload = await encrypt(algorithm, key, envelope.nonce, data, content);
    // The key may have been overwritten while it was in use.
    this.#requireKept();
    return { payload, envelope };
  }

  /** Decrypts `payload`. Throws an {@link EnvelopeError}: WRONG_KEY_OR_CHANGED when it is not what was sealed for this binding. */
  async open(payload: Uint8Array, envelope: Envelope, binding: Binding): Promise<Uint8Array<ArrayBuffer>> {
    checkEnvelope(envelope);
    if (payload.length < TAG_LENGTH) {
      throw new EnvelopeError("WRONG_KEY_OR_CHANGED", `the payload must have at least ${TAG_LENGTH} bytes`);
    }
    const data = associatedData(binding, envelope.algorithm, envelope);
    const key = await this.#key(envelope);
    const content = await decrypt(envelope.algorithm, key, envelope.nonce, data, payload);
    this.#requireKept();
    return content;
  }

  /** Overwrites the secret and its keys. Nothing can be sealed or opened with it any more. */
  forget(): void {
    this.#forgotten = true;
    this.#bytes.fill(0);
    for (const key of this.#keys.values()) {
      // A derivation that failed has no key to overwrite.
      key.then((bytes) => bytes.fill(0)).catch(() => {});
    }
    this.#keys.clear();
  }

  /** Derives the key of an envelope, once: two calls at the same time share the work. */
  async #key(envelope: ValidEnvelope): Promise<Uint8Array<ArrayBuffer>> {
    this.#requireKept();
    const { keyId, keyVersion, salt, keyDerivation } = envelope;
    const { memoryKib, iterations, parallelism } = keyDerivation;
    const name = [keyId.toLowerCase(), keyVersion, memoryKib, iterations, parallelism, ...salt].join();
    let key = this.#keys.get(name);
    if (!key) {
      key = deriveKey(this.#bytes, envelope, salt, keyDerivation, this.#memoryLimitKib);
      this.#keys.set(name, key);
      // A failure, for example for lack of memory, is not remembered.
      key.catch(() => this.#keys.delete(name));
    }
    const bytes = await key;
    this.#requireKept();
    return bytes;
  }

  #requireKept(): void {
    if (this.#forgotten) {
      throw new EnvelopeError("FORGOTTEN", "the secret was forgotten");
    }
  }
}
