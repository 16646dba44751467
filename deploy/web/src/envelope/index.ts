export {
  associatedData,
  type Binding,
  type KeyName,
  Kind,
  preferencesBinding,
  recordBinding,
  shareBinding,
} from "./binding.js";
export { MEMORY_LIMIT_KIB } from "./derivation.js";
export { Algorithm, type Envelope, type KeyDerivation, LEAST_KEY_DERIVATION, type ValidEnvelope } from "./envelope.js";
export { EnvelopeError, type EnvelopeErrorCode } from "./error.js";
export { normalForm } from "./passphrase.js";
export { type Sealed, type SealOptions, Secret } from "./secret.js";
export { parseShareFragment, type ShareLink, shareFragment } from "./share-link.js";
