import type { GetConsentRequirementsResponse } from "../gen-sign-up/haven/identity/v1/account_pb";

/** A version of a document that the form asks for. */
export interface Consent {
  document: string;
  documentVersion: string;
  isRequired: boolean;
}

/**
 * Returns the consents to ask for: the required ones, and of each other document that the server lists the version that it lists
 * last. Older versions of a required document are accepted from forms that still show them, and are not shown here.
 */
export function consentsOf(
  response: Pick<GetConsentRequirementsResponse, "required" | "accepted" | "anyAccepted">,
): Consent[] {
  const asked = new Map<string, Consent>();
  for (const { document, documentVersion } of response.required) {
    asked.set(document, { document, documentVersion, isRequired: true });
  }
  for (const { document, documentVersion } of response.anyAccepted ? [] : response.accepted) {
    if (!asked.get(document)?.isRequired) {
      asked.set(document, { document, documentVersion, isRequired: false });
    }
  }
  return [...asked.values()];
}

/** The value of a consent in the form. A name of a document has no `=`. */
export function keyOf({ document, documentVersion }: Pick<Consent, "document" | "documentVersion">): string {
  return `${document}=${documentVersion}`;
}

export function labelOf({ document, documentVersion, isRequired }: Consent): string {
  return `I accept “${document}”, version ${documentVersion}${isRequired ? "" : " (optional)"}`;
}

/** Says in one sentence each what changed for the person who fills in the form. */
export function changesBetween(before: Consent[], after: Consent[]): string[] {
  const old = new Map(before.map((consent) => [consent.document, consent]));
  const now = new Set(after.map(({ document }) => document));
  const changed = after.flatMap((consent) => {
    const { document, documentVersion, isRequired } = consent;
    const earlier = old.get(document);
    if (!earlier) {
      return [`“${document}”, version ${documentVersion}, was added${isRequired ? ", and is required" : ""}.`];
    }
    if (earlier.documentVersion !== documentVersion) {
      return [`“${document}” has a new version: ${documentVersion} instead of ${earlier.documentVersion}.`];
    }
    if (earlier.isRequired !== isRequired) {
      return [`“${document}” is ${isRequired ? "now required" : "no longer required"}.`];
    }
    return [];
  });
  const removed = before.filter(({ document }) => !now.has(document));
  return [...changed, ...removed.map(({ document }) => `“${document}” is no longer asked for.`)];
}
