import { create } from "@bufbuild/protobuf";
import { expect, test } from "vitest";
import { GetConsentRequirementsResponseSchema } from "../gen-sign-up/haven/identity/v1/account_pb";
import { changesBetween, consentsOf, keyOf, labelOf } from "./consents";

const grant = (key: string) => {
  const [document = "", documentVersion = ""] = key.split("=");
  return { document, documentVersion };
};
const asked = (required: string[], accepted: string[], anyAccepted = false) =>
  consentsOf(
    create(GetConsentRequirementsResponseSchema, {
      required: required.map(grant),
      accepted: accepted.map(grant),
      anyAccepted,
    }),
  );

test("required documents are asked for in the required version, and others in the version that is listed last", () => {
  const consents = asked(["terms=2026-01"], ["terms=2026-01", "terms=2025-01", "news=1", "news=2"]);
  expect(consents.map(keyOf)).toEqual(["terms=2026-01", "news=2"]);
  expect(consents.map(labelOf)).toEqual(["I accept “terms”, version 2026-01", "I accept “news”, version 2 (optional)"]);
  expect(asked(["terms=1"], ["terms=1", "news=1"], true).map(keyOf)).toEqual(["terms=1"]);
});

test("each change is said", () => {
  const before = asked(["terms=1", "privacy=1", "old=1"], ["news=1"]);
  const after = asked(["terms=2", "news=1", "new=1"], ["privacy=1", "extra=1"]);
  expect(changesBetween(before, after)).toEqual([
    "“terms” has a new version: 2 instead of 1.",
    "“news” is now required.",
    "“new”, version 1, was added, and is required.",
    "“privacy” is no longer required.",
    "“extra”, version 1, was added.",
    "“old” is no longer asked for.",
  ]);
  expect(changesBetween(before, before)).toEqual([]);
});
