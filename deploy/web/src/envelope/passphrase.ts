import { EnvelopeError } from "./error.js";

/**
 * Returns the normal form of a passphrase or passcode: OpaqueString of RFC 8265, that is NFC, with spaces of all kinds as U+0020.
 * Two keyboards then derive the same key. It is neither trimmed nor folded: case and width stay as they are.
 *
 * Of what the RFC forbids, this refuses what cannot be meant: an empty text, control characters, and half a surrogate pair, which
 * has no form in UTF-8. Characters that the RFC's tables do not know are kept, as the server does with passwords: the tables differ
 * by browser, and would refuse new letters and emoji on one device and not on another.
 */
export function normalForm(passphrase: string): string {
  if (passphrase === "") {
    throw new EnvelopeError("PASSPHRASE_EMPTY", "the passphrase must not be empty");
  }
  if (/\p{Cc}|\p{Cs}/u.test(passphrase)) {
    throw new EnvelopeError(
      "PASSPHRASE_CHARACTER",
      "the passphrase must not have control characters, such as tabs and line ends, or broken characters",
    );
  }
  return passphrase.replace(/\p{Zs}/gu, " ").normalize("NFC");
}
