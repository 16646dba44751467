import { useCallback, useEffect, useState } from "react";
import { accountClients } from "../api/account-clients";
import { useRequestIds } from "../api/request-id";
import { useSignedIn } from "../api/session";
import { useSession } from "../app/session-context";
import type { Consent } from "../gen/haven/identity/v1/account_pb";
import { consentsOf, keyOf } from "../sign-up/consents";
import { Time } from "../ui/time";
import { useAction, useFailureFocus } from "./action";
import { Done } from "./done";
import { FailureAlert } from "./failure-alert";
import { grantConsents } from "./grant";
import { useLoaded } from "./loaded";
import { usePages } from "./pages";
import { PagesFooter } from "./pages-footer";
import { Section } from "./section";

/** The server's maximum: most people have one page. */
const PAGE_SIZE = 200;

/** The consents: what was granted and withdrawn, and what can be granted now. */
export function ConsentsSection() {
  const session = useSession();
  const clients = accountClients(session);
  const { accounts } = clients;
  const missing = useSignedIn(session)?.missingConsents;
  const pages = usePages(
    useCallback(
      async (pageToken) => {
        const page = await accounts.listConsents({ pageSize: PAGE_SIZE, pageToken });
        return { items: page.consents, nextPageToken: page.nextPageToken };
      },
      [accounts],
    ),
  );
  const offered = useLoaded(useCallback(async () => consentsOf(await accounts.getConsentRequirements({})), [accounts]));
  const requestIds = useRequestIds();
  const action = useAction();
  const container = useFailureFocus<HTMLDivElement>(action.failure);
  const [done, setDone] = useState<string>();

  // Consents that are granted elsewhere on the page are entries too, and other versions can be required.
  const { reload } = pages;
  const reloadOffered = offered.reload;
  const missingKeys = missing?.map(keyOf).join(" ");
  const [shownKeys, setShownKeys] = useState(missingKeys);
  useEffect(() => {
    if (missingKeys !== shownKeys) {
      setShownKeys(missingKeys);
      reload();
      reloadOffered();
    }
  }, [missingKeys, shownKeys, reload, reloadOffered]);

  const inEffect = pages.items.filter((consent) => !consent.withdrawTime).map(keyOf);
  const isRequired = (consent: Consent) =>
    offered.value?.some((one) => one.isRequired && keyOf(one) === keyOf(consent));
  const required = new Set(missing?.map(keyOf));
  // What is on a page that is not read yet can be in effect.
  const isWhole = !pages.isLoading && !pages.failure && !pages.hasMore;
  // What is missing is asked for at the top of the page.
  const grantable = (offered.value ?? []).filter((one) => !inEffect.includes(keyOf(one)) && !required.has(keyOf(one)));

  const change = (sentence: string, call: () => Promise<void>) =>
    action.run(async () => {
      setDone(undefined);
      await call();
      setDone(sentence);
      pages.reload();
    });
  const withdraw = (consent: Consent) =>
    change(`The consent to “${consent.document}” is withdrawn.`, async () => {
      await accounts.withdrawConsent({ consentId: consent.id, requestId: requestIds.for({ withdraw: consent.id }) });
      requestIds.forget();
      await session.renew();
    });
  return (
    <Section title="Consents">
      <div ref={container}>
        <FailureAlert {...action} />
        {done && <Done key={done}>{done}</Done>}
      </div>
      <ul className="entries">
        {pages.items.map((consent) => (
          <li key={consent.id}>
            <p>
              “{consent.document}”, version {consent.documentVersion}: granted <Time value={consent.grantTime} />
              {consent.withdrawTime && (
                <>
                  , withdrawn <Time value={consent.withdrawTime} />
                </>
              )}
              .
              {!consent.withdrawTime &&
                isRequired(consent) &&
                " It is required: without it most of the product is closed."}
            </p>
            {!consent.withdrawTime && (
              <button
                type="button"
                className="danger"
                onClick={() => withdraw(consent)}
                aria-label={`Withdraw the consent to “${consent.document}”, version ${consent.documentVersion}`}
              >
                Withdraw
              </button>
            )}
          </li>
        ))}
        {isWhole &&
          grantable.map((consent) => (
            <li key={keyOf(consent)}>
              <p>
                “{consent.document}”, version {consent.documentVersion}: not granted
                {consent.isRequired ? ", and required" : ""}.
              </p>
              <button
                type="button"
                className="secondary"
                onClick={() =>
                  change(`The consent to “${consent.document}” is granted.`, () =>
                    grantConsents([consent], clients, session, requestIds),
                  )
                }
                aria-label={`Accept “${consent.document}”, version ${consent.documentVersion}`}
              >
                Accept
              </button>
            </li>
          ))}
      </ul>
      <FailureAlert {...offered} isLive onRetry={offered.reload} />
      <PagesFooter pages={pages} more="More consents" none="There are no consents." />
    </Section>
  );
}
