import type { FieldError } from "react-hook-form";
import type { Violation } from "../api/failure";
import { type Consent, keyOf } from "./consents";
import { emailRules } from "./email-rules";
import { type FieldName, fieldNames, type SignUpRules } from "./schema";

/** What is wrong with a field: the rule by its name, and what a person reads. */
export interface Problem {
  field: FieldName;
  reason: string;
  text: string;
}

/** Gives the problems of one field the form of React Hook Form: by their rules, and all of them. */
export function fieldError(problems: Problem[]): FieldError {
  const types: Record<string, string[]> = {};
  for (const { reason, text } of problems) {
    types[reason] = [...(types[reason] ?? []), text];
  }
  return { type: problems[0]?.reason ?? "", types };
}

/** Returns the texts of a field's problems. */
export function textsOf(error: unknown): string[] {
  const texts = Object.values((error as FieldError | undefined)?.types ?? {}).flat();
  return [...new Set(texts.filter((text) => typeof text === "string"))];
}

/** Returns what a person reads about a rule; undefined for a rule that the page does not know. */
export function textOf(
  field: FieldName,
  reason: string,
  rules: SignUpRules | undefined,
  consent?: Consent,
): string | undefined {
  switch (field) {
    case "email":
      return emailRules[reason];
    case "password":
      return rules?.policy.rules.find(({ name }) => name === reason)?.description;
    case "goals":
      return reason === "REQUIRED" ? "Choose at least one goal." : undefined;
    case "consents":
      if (reason === "NOT_LOADED") {
        return "Load the documents, and accept the required ones.";
      }
      if (reason === "VERSION_UNKNOWN") {
        return "This version is no longer accepted.";
      }
      return reason === "CONSENT_REQUIRED" && consent
        ? `Accept “${consent.document}”, version ${consent.documentVersion}.`
        : undefined;
  }
}

/**
 * Sorts the server's violations: those of fields of the form, and the others, which are shown above it. `sent` are the consents
 * of the request, which violations name by their position.
 */
export function sortViolations(
  violations: Violation[],
  sent: { document: string; documentVersion: string }[],
  rules: SignUpRules | undefined,
): { problems: Problem[]; others: string[] } {
  const problems: Problem[] = [];
  const others: string[] = [];
  for (const { field: path, reason, description } of violations) {
    const [, name, position] = /^([a-z_]+)(?:\[(\d+)\])?/.exec(path) ?? [];
    const field = fieldNames.find((known) => known === name);
    if (!field) {
      others.push(`${path || "request"}: ${description || reason}`);
      continue;
    }
    if (field === "consents" && reason === "CONSENT_REQUIRED") {
      problems.push(...missingConsents(sent, rules).map((text) => ({ field, reason, text })));
      continue;
    }
    const consent = field === "consents" && position ? sent[Number(position)] : undefined;
    const text = textOf(field, reason, rules) ?? (description || reason);
    problems.push({
      field,
      reason,
      text: consent ? `“${consent.document}”, version ${consent.documentVersion}: ${text}` : text,
    });
  }
  return { problems, others };
}

/** Says which required documents a request does not accept. The violation names none, but in a text for developers. */
function missingConsents(
  sent: Pick<Consent, "document" | "documentVersion">[],
  rules: SignUpRules | undefined,
): string[] {
  const accepted = sent.map(keyOf);
  const missing = rules?.consents.filter((consent) => consent.isRequired && !accepted.includes(keyOf(consent))) ?? [];
  const texts = missing.flatMap((consent) => textOf("consents", "CONSENT_REQUIRED", rules, consent) ?? []);
  return texts.length > 0 ? texts : ["Accept the required documents."];
}
