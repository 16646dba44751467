import { EnvelopeError, normalForm } from "../envelope";

/** The lengths that the server takes, in code points. */
const LEAST = 4;
const GREATEST = 128;

const TOO_SHORT = `A passcode has at least ${LEAST} characters.`;
const TOO_LONG = `A passcode has at most ${GREATEST} characters.`;

/** What the server says about a passcode, by its reason. */
export const PASSCODE_ERRORS: Record<string, string> = { PASSCODE_TOO_SHORT: TOO_SHORT, PASSCODE_TOO_LONG: TOO_LONG };

/** The passcode in its normal form, empty for none, or why it cannot be one. */
export type PasscodeCheck = { passcode: string } | { error: string };

/** Checks what was typed, because an attempt with a mistyped passcode may be one of five. */
export function checkPasscode(typed: string): PasscodeCheck {
  if (typed === "") {
    return { passcode: "" };
  }
  let passcode: string;
  try {
    passcode = normalForm(typed);
  } catch (error) {
    if (error instanceof EnvelopeError) {
      return {
        error: "The passcode has a character that no keyboard types, such as a tab. Type it instead of pasting it.",
      };
    }
    throw error;
  }
  const length = [...passcode].length;
  if (length < LEAST) {
    return { error: TOO_SHORT };
  }
  return length > GREATEST ? { error: TOO_LONG } : { passcode };
}
