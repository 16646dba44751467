import { EnvelopeError } from "./error.js";

/** What a link of a share carries in its fragment. */
export interface ShareLink {
  /** The token, which OpenShare takes. */
  token: string;
  /** The 32 bytes of the secret, which stay on the device. */
  secret: Uint8Array<ArrayBuffer>;
}

/** 32 bytes as base64url without padding: the last character has four bits, and the two after them are zero. */
const PART = "[A-Za-z0-9_-]{42}[AEIMQUYcgkosw048]";
const FRAGMENT = new RegExp(`^#?(${PART})\\.(${PART})$`);

/** Returns the fragment of a link, without the `#`: the token, a dot, and the secret as base64url. */
export function shareFragment({ token, secret }: ShareLink): string {
  const fragment = `${token}.${base64url(secret)}`;
  if (!FRAGMENT.test(fragment)) {
    throw new EnvelopeError(
      "OUT_OF_RANGE",
      "token must be one that CreateShare returned, and secret must have 32 bytes",
    );
  }
  return fragment;
}

/** Reads the fragment of a link, with or without its `#`. Throws MALFORMED_LINK. */
export function parseShareFragment(fragment: string): ShareLink {
  const [, token, secret] = FRAGMENT.exec(fragment) ?? [];
  if (token === undefined || secret === undefined) {
    throw new EnvelopeError(
      "MALFORMED_LINK",
      "the fragment must be a token and a secret of 43 characters each, with a dot between",
    );
  }
  const text = atob(secret.replaceAll("-", "+").replaceAll("_", "/"));
  return { token, secret: Uint8Array.from(text, (character) => character.charCodeAt(0)) };
}

function base64url(bytes: Uint8Array): string {
  const text = btoa(String.fromCharCode(...bytes));
  return text.replaceAll("+", "-").replaceAll("/", "_").replace(/=+$/, "");
}
