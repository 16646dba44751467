import type { Failure } from "../api/failure";

/** What the reasons of failures mean for a person. A page can say it better for its own calls. */
const SENTENCES: Record<string, string> = {
  ACCESS_DENIED: "This page may not make this call.",
  ACCOUNT_ERASED: "The account was deleted.",
  ACCOUNT_LOCKED: "The data of this account is locked, and is kept. Ask the support of the product.",
  ACCOUNT_NOT_READY: "The data service does not know the new account yet. Try again in a moment.",
  AUTH_PROVIDER_EXTERNAL: "Another provider manages the password and the sessions of this account. Use its pages.",
  CANCELLED: "The call was cancelled.",
  CONSENT_OUTDATED: "A document has changed, and your consent to it is missing.",
  CREDENTIALS_INVALID: "The password is wrong.",
  EMAIL_INVALID: "This is not an e-mail address.",
  EMAIL_TAKEN: "Another account has this e-mail address.",
  INTERNAL: "The service has a defect. Nothing that was stored before is lost.",
  INVALID_FIELD: "The service refuses the request.",
  NOT_FOUND: "It does not exist any more.",
  PAGE_DEFECT: "This page has a defect. Load it again in the browser, and sign in again.",
  PAGE_TOKEN_INVALID: "The list has changed, and is read again from its beginning.",
  PASSWORD_POLICY: "The new password does not meet all rules.",
  QUOTA_EXCEEDED: "The account has the maximum number of these entries.",
  RATE_LIMITED: "There were too many attempts.",
  RECOVERY_TOKEN_INVALID: "This link cannot be used: it is wrong, expired, or was used before. Ask for another one.",
  REQUEST_ID_REUSED: "This request was sent before with other content. Load the page again.",
  SESSION_REVOKED: "Your session has ended.",
  TOKEN_EXPIRED: "Your session has ended.",
  TOKEN_INVALID: "Your session has ended.",
  UNREACHABLE: "The service cannot be reached. Check the connection, and try again: nothing is done twice.",
  VERSION_CONFLICT: "It was changed elsewhere in the meantime.",
};

const BUSY = "The service is busy or did not answer in time. Try again: nothing is done twice.";

const BUSY_REASONS = [
  "CLIENT_TOO_SLOW",
  "DEADLINE",
  "DEPENDENCY_UNAVAILABLE",
  "DRAINING",
  "OVERLOADED",
  "TOO_MANY_CALLS",
];

/** Returns the sentence for a failure. `own` has the sentences of the page for its calls. */
export function sentenceOf({ reason }: Failure, own: Record<string, string> = {}): string {
  if (BUSY_REASONS.includes(reason)) {
    return BUSY;
  }
  return own[reason] ?? SENTENCES[reason] ?? `The service refuses the request: ${reason}.`;
}

/** Returns what is wrong with a field, one sentence for each rule that it breaks. */
export function errorsOf(failure: Failure | undefined, field: string): string[] {
  const violations = failure?.violations ?? [];
  return violations.filter((violation) => violation.field === field).map(({ description }) => `${description}.`);
}

/** Says how many sessions have ended with a change. */
export function sessionsOf(ended: number): string {
  switch (ended) {
    case 0:
      return "No session had to be ended.";
    case 1:
      return "One session was ended.";
    default:
      return `${ended} sessions were ended.`;
  }
}
