export {
  associatedData,
  type Binding,
  type KeyName,
  Kind,
  preferencesBinding,
  recordBinding,
  shareBinding,
} from "./binding";
export { MEMORY_LIMIT_KIB } from "./derivation";
export { Algorithm, type Envelope, type KeyDerivation, LEAST_KEY_DERIVATION, type ValidEnvelope } from "./envelope";
export { EnvelopeError, type EnvelopeErrorCode } from "./error";
export { normalForm } from "./passphrase";
export { type Sealed, type SealOptions, Secret } from "./secret";
export { parseShareFragment, type ShareLink, shareFragment } from "./share-link";
