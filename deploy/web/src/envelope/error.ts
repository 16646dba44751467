/** Why content was not encrypted or decrypted. Programs decide by it, never by the text of the error. */
export type EnvelopeErrorCode =
  /** The payload was changed, or was encrypted with another secret, or for another user, record, kind or version. */
  | "WRONG_KEY_OR_CHANGED"
  | "UNKNOWN_ALGORITHM"
  | "UNKNOWN_VERSION"
  /** A field of the envelope, of the binding or of a call is outside of what ENVELOPE.md allows. */
  | "OUT_OF_RANGE"
  /** The derivation of the key would take more memory than the limit of this client. */
  | "MEMORY_LIMIT"
  /** The browser did not give the memory, although it is within the limit. */
  | "OUT_OF_MEMORY"
  /** The page is not in a secure context (HTTPS or localhost), so it has no WebCrypto. */
  | "NO_WEBCRYPTO"
  /** The secret was forgotten. */
  | "FORGOTTEN"
  | "PASSPHRASE_EMPTY"
  | "PASSPHRASE_CHARACTER"
  | "MALFORMED_LINK";

/** A failure of this library. Its text names the field and the rule, and never a secret or content. */
export class EnvelopeError extends Error {
  readonly code: EnvelopeErrorCode;

  constructor(code: EnvelopeErrorCode, message: string) {
    super(message);
    this.name = "EnvelopeError";
    this.code = code;
  }
}

/** Throws OUT_OF_RANGE unless `value` is an integer from `least` to `greatest`. */
export function requireRange(name: string, value: number, least: number, greatest: number): void {
  if (!Number.isInteger(value) || value < least || value > greatest) {
    throw new EnvelopeError("OUT_OF_RANGE", `${name} must be an integer from ${least} to ${greatest}`);
  }
}

/** Throws OUT_OF_RANGE unless `bytes` has `least` to `greatest` bytes. */
export function requireLength(name: string, bytes: Uint8Array, least: number, greatest = least): void {
  if (bytes.length < least || bytes.length > greatest) {
    const rule = least === greatest ? `${least}` : `${least} to ${greatest}`;
    throw new EnvelopeError("OUT_OF_RANGE", `${name} must have ${rule} bytes`);
  }
}
