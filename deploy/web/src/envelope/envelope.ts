import { EnvelopeError, requireLength, requireRange } from "./error.js";

/** The algorithms, with the numbers of `haven.data.v1.EncryptionAlgorithm`. */
export const Algorithm = { XCHACHA20_POLY1305: 1, AES_256_GCM: 2 } as const;
export type Algorithm = (typeof Algorithm)[keyof typeof Algorithm];

/** The bytes that both algorithms append to the ciphertext. */
export const TAG_LENGTH = 16;

/** The length of a nonce in bytes. WebCrypto takes others, which Haven refuses. */
export const NONCE_LENGTH: Record<Algorithm, number> = { 1: 24, 2: 12 };

/** The parameters of argon2id. */
export interface KeyDerivation {
  memoryKib: number;
  iterations: number;
  parallelism: number;
}

/**
 * The parameters with the lowest cost that the server accepts. They are enough for a secret of 32 random bytes, which cannot be
 * guessed; choose higher ones where a person chooses a passphrase.
 */
export const LEAST_KEY_DERIVATION: KeyDerivation = { memoryKib: 19_456, iterations: 2, parallelism: 1 };

/**
 * The parameters of an encryption: the fields of `haven.data.v1.CryptoEnvelope` with the names that protobuf-es gives them, so that
 * a message of the generated code can be passed as it is.
 */
export interface Envelope {
  envelopeVersion: number;
  algorithm: number;
  keyId: string;
  keyVersion: number;
  nonce: Uint8Array;
  salt: Uint8Array;
  keyDerivation?: KeyDerivation | undefined;
  associatedDataVersion: number;
}

/** An envelope in which each field is set and within its limits. */
export interface ValidEnvelope extends Envelope {
  algorithm: Algorithm;
  keyDerivation: KeyDerivation;
}

/** Checks what the server checks of an envelope, apart from its `keyId`. Throws an {@link EnvelopeError}. */
export function checkEnvelope(envelope: Envelope): asserts envelope is ValidEnvelope {
  requireVersion("envelopeVersion", envelope.envelopeVersion);
  requireVersion("associatedDataVersion", envelope.associatedDataVersion);
  requireAlgorithm(envelope.algorithm);
  requireLength("nonce", envelope.nonce, NONCE_LENGTH[envelope.algorithm]);
  requireLength("salt", envelope.salt, 16, 64);
  requireRange("keyVersion", envelope.keyVersion, 1, 0x7fff_ffff);
  const { keyDerivation } = envelope;
  if (!keyDerivation) {
    throw new EnvelopeError("OUT_OF_RANGE", "keyDerivation is required");
  }
  requireRange("memoryKib", keyDerivation.memoryKib, 19_456, 1_048_576);
  requireRange("iterations", keyDerivation.iterations, 2, 64);
  requireRange("parallelism", keyDerivation.parallelism, 1, 16);
}

/** Throws UNKNOWN_ALGORITHM unless `algorithm` is one of {@link Algorithm}. */
export function requireAlgorithm(algorithm: number): asserts algorithm is Algorithm {
  if (algorithm !== Algorithm.XCHACHA20_POLY1305 && algorithm !== Algorithm.AES_256_GCM) {
    throw new EnvelopeError("UNKNOWN_ALGORITHM", "algorithm must be XCHACHA20_POLY1305 or AES_256_GCM");
  }
}

function requireVersion(name: string, version: number): void {
  if (version !== 1) {
    throw new EnvelopeError("UNKNOWN_VERSION", `${name} must be 1`);
  }
}
