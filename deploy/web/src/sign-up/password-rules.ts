import type { GetPasswordPolicyResponse } from "../gen-sign-up/haven/identity/v1/account_pb";
import { trimAscii } from "./email-rules";

/** The rules for new passwords, as the server states them. */
export type PasswordPolicy = Pick<GetPasswordPolicyResponse, "minLength" | "maxLength"> & {
  rules: { name: string; description: string }[];
};

/** A password in the form in which the server checks it. */
interface Judged {
  /** The beginning, in the normal form of RFC 8265. */
  normal: string;
  length: number;
  isTooLong: boolean;
  policy: PasswordPolicy;
  isEmail: boolean;
}

/**
 * The rules that a page can check itself, by the server's names. `IS_EMAIL` is broken by other spellings of the address too:
 * those, and how easy a password is to guess, the server alone can tell.
 */
const checks: Record<string, (password: Judged) => boolean> = {
  TOO_SHORT: ({ length, policy }) => length >= policy.minLength,
  TOO_LONG: ({ isTooLong }) => !isTooLong,
  NO_UPPERCASE: ({ normal }) => /\p{Lu}/u.test(normal),
  NO_LOWERCASE: ({ normal }) => /\p{Ll}/u.test(normal),
  NO_DIGIT: ({ normal }) => /\p{Nd}/u.test(normal),
  IS_EMAIL: ({ isEmail }) => !isEmail,
};

/** The state of a rule. It is unknown until the server has checked the password as it is now. */
export type RuleState = "met" | "unmet" | "unknown";

/** Returns the names of the policy's rules that a password breaks, as far as a page can tell. */
export function brokenPasswordRules(password: string, email: string, policy: PasswordPolicy): string[] {
  const judged = judge(password, email, policy);
  return policy.rules.map(({ name }) => name).filter((name) => checks[name]?.(judged) === false);
}

/** Returns the state of a rule. What the server says about the same password counts more than what the page finds. */
export function ruleState(name: string, broken: string[], answer: ReadonlyMap<string, boolean> | undefined): RuleState {
  const met =
    answer?.get(name) ?? (broken.includes(name) ? false : name in checks && name !== "IS_EMAIL" ? true : undefined);
  return met === undefined ? "unknown" : met ? "met" : "unmet";
}

/** Code points are counted, not the units of JavaScript's strings: an emoji is one character. */
function judge(password: string, email: string, policy: PasswordPolicy): Judged {
  // No more than the beginning is looked at, however much was pasted.
  const typed = [...password.slice(0, 2 * policy.maxLength + 2)];
  const beginning = typed.slice(0, policy.maxLength).join("");
  const normal = [...beginning.replace(/\p{Zs}/gu, " ").normalize("NFC")];
  return {
    normal: normal.slice(0, policy.maxLength).join(""),
    length: normal.length,
    isTooLong: typed.length > policy.maxLength || normal.length > policy.maxLength,
    policy,
    isEmail: password !== "" && password === trimAscii(email),
  };
}
