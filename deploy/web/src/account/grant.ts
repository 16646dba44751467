import type { AccountClients } from "../api/account-clients";
import type { RequestIds } from "../api/request-id";
import type { Session } from "../api/session";

interface Document {
  document: string;
  documentVersion: string;
}

/**
 * Grants consents one after the other, and exchanges the tokens: the access token states which consents are missing. A consent
 * that is in effect already is not granted twice, so the whole can be repeated after a failure.
 */
export async function grantConsents(
  documents: Document[],
  { accounts }: AccountClients,
  session: Session,
  requestIds: RequestIds,
): Promise<void> {
  for (const { document, documentVersion } of documents) {
    const consent = { document, documentVersion };
    await accounts.grantConsent({ consent, requestId: requestIds.for(consent) });
    // The consent can be withdrawn elsewhere: granting it again later is another request.
    requestIds.forget();
  }
  await session.renew();
}
