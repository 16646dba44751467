import type { Resolver } from "react-hook-form";
import * as z from "zod/mini";
import type { Goal } from "../gen-sign-up/haven/identity/v1/account_pb";
import { type Consent, keyOf } from "./consents";
import { brokenEmailRules } from "./email-rules";
import { brokenPasswordRules, type PasswordPolicy } from "./password-rules";
import { fieldError, textOf } from "./problems";

/** What the server asks of a sign-up. */
export interface SignUpRules {
  policy: PasswordPolicy;
  consents: Consent[];
}

/** What a person enters. A consent is the key of a document and its version. */
export interface SignUpValues {
  email: string;
  password: string;
  goals: Goal[];
  consents: string[];
}

export type FieldName = keyof SignUpValues;

/** The fields in the order of the page. */
export const fieldNames: FieldName[] = ["email", "password", "goals", "consents"];

/**
 * The schema of the form. Its issues are the names of the server's rules. A rule that is checked here is one of the server's, so
 * nothing is refused that the server would accept; without the rules of the server, the server alone decides about passwords.
 */
export function signUpSchema(rules: SignUpRules | undefined) {
  return z
    .object({
      email: z.string().check(rulesBroken(brokenEmailRules)),
      password: z.string(),
      goals: z.array(z.number()).check(z.minLength(1, "REQUIRED")),
      consents: z.array(z.string()),
    })
    .check(
      z.check<SignUpValues>(({ value, issues }) => {
        const add = (path: string[], message: string) =>
          issues.push({ code: "custom", message, path, input: value, continue: true });
        for (const name of rules ? brokenPasswordRules(value.password, value.email, rules.policy) : []) {
          add(["password"], name);
        }
        if (!rules) {
          add(["consents"], "NOT_LOADED");
        }
        for (const consent of rules?.consents ?? []) {
          if (consent.isRequired && !value.consents.includes(keyOf(consent))) {
            add(["consents", consent.document], "CONSENT_REQUIRED");
          }
        }
      }),
    );
}

function rulesBroken(find: (value: string) => string[]) {
  return z.check<string>(({ value, issues }) => {
    for (const message of find(value)) {
      issues.push({ code: "custom", message, input: value, continue: true });
    }
  });
}

/** Checks the form by the schema, for React Hook Form. */
export function resolverFor(rules: SignUpRules | undefined): Resolver<SignUpValues> {
  const schema = signUpSchema(rules);
  return (values) => {
    const result = schema.safeParse(values);
    if (result.success) {
      return { values, errors: {} };
    }
    const problems = result.error.issues.map(({ path, message: reason }) => {
      const field = path[0] as FieldName;
      const consent = rules?.consents.find(({ document }) => document === path[1]);
      return { field, reason, text: textOf(field, reason, rules, consent) ?? reason };
    });
    const errors = fieldNames.flatMap((name) => {
      const own = problems.filter(({ field }) => field === name);
      return own.length > 0 ? [[name, fieldError(own)]] : [];
    });
    return { values: {}, errors: Object.fromEntries(errors) };
  };
}
