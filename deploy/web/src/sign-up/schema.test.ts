import { describe, expect, test, vi } from "vitest";
import cases from "../../../../services/identity/src/domain/sign_up_cases.json" with { type: "json" };
import { type SignUpRules, signUpSchema } from "./schema";

interface Case {
  password?: string;
  email?: string;
  broken: string[];
  server_only?: string[];
}

/** The table that the tests of the server read too. */
const table: { passwords: Case[]; emails: Case[] } = cases;

const names = ["TOO_SHORT", "TOO_LONG", "NO_UPPERCASE", "NO_LOWERCASE", "NO_DIGIT", "IS_EMAIL", "GUESSABLE"];
const rules: SignUpRules = {
  policy: { minLength: 8, maxLength: 128, rules: names.map((name) => ({ name, description: name })) },
  consents: [
    { document: "terms", documentVersion: "2026-01", isRequired: true },
    { document: "news", documentVersion: "1", isRequired: false },
  ],
};
const right = { email: "ada@example.org", password: "kX9vQ2wZ", goals: [1], consents: ["terms=2026-01"] };

function issues(values: object, known: SignUpRules | null = rules): string[] {
  const result = signUpSchema(known ?? undefined).safeParse({ ...right, ...values });
  return (result.error?.issues ?? []).map(({ path, message }) => `${path.join(".")} ${message}`);
}

describe("the table of cases", () => {
  test.each(table.passwords)("password $password with $email", ({ password, email = right.email, broken }) => {
    expect(issues({ password, email })).toEqual(broken.map((name) => `password ${name}`));
  });

  test.each(table.emails)("email $email", ({ email, broken }) => {
    expect(issues({ email })).toEqual(broken.map((name) => `email ${name}`));
  });

  test("has a case of each rule that the page checks", () => {
    const found = (cases: Case[]) => new Set(cases.flatMap(({ broken }) => broken));
    expect(found(table.passwords)).toEqual(new Set(names.filter((name) => name !== "GUESSABLE")));
    expect(found(table.emails).size).toBe(10);
  });
});

test("everything that is wrong is found at once", () => {
  expect(issues({ email: "a..b@localhost", password: "short", goals: [], consents: ["news=1"] })).toEqual([
    "email LOCAL_PART_DOTS",
    "email DOMAIN_WITHOUT_DOT",
    "goals REQUIRED",
    "password TOO_SHORT",
    "password NO_UPPERCASE",
    "password NO_DIGIT",
    "consents.terms CONSENT_REQUIRED",
  ]);
});

test("the rules and the limits of passwords are those of the server", () => {
  const policy = { minLength: 12, maxLength: 20, rules: [{ name: "TOO_SHORT", description: "" }] };
  expect(issues({ password: "xxxxxxxxxxx" }, { ...rules, policy })).toEqual(["password TOO_SHORT"]);
  expect(issues({ password: "xxxxxxxxxxxx" }, { ...rules, policy })).toEqual([]);
  const unknown = { ...policy, rules: [{ name: "NO_RULE_OF_THIS_PAGE", description: "" }] };
  expect(issues({ password: "" }, { ...rules, policy: unknown })).toEqual([]);
});

test("a consent to another version of a required document is none", () => {
  expect(issues({ consents: ["terms=2025-01", "news=1"] })).toEqual(["consents.terms CONSENT_REQUIRED"]);
});

test("a password without the server's rules is left to the server", () => {
  expect(issues({ password: "" }, null)).toEqual(["consents NOT_LOADED"]);
});

test("of a password that is pasted by mistake no more than the beginning is looked at", () => {
  const normalize = vi.spyOn(String.prototype, "normalize");
  expect(issues({ password: "kX9vQ2wZ".repeat(1_000) })).toEqual(["password TOO_LONG"]);
  const lengths = normalize.mock.contexts.map((text) => String(text).length);
  expect(lengths.length).toBeGreaterThan(0);
  expect(Math.max(...lengths)).toBeLessThan(2 * 128 + 3);
});
