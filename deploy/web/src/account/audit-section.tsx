import { type ReactNode, useCallback } from "react";
import { accountClients } from "../api/account-clients";
import { useSession } from "../app/session-context";
import { AuditOutcome } from "../gen/haven/identity/v1/account_pb";
import { Time } from "../ui/time";
import { accountEventOf, dataEventOf } from "./audit-event";
import { type Pages, usePages } from "./pages";
import { PagesFooter } from "./pages-footer";
import { Section } from "./section";

const PAGE_SIZE = 20;

/** The security logs of both services, newest first. */
export function AuditSection() {
  const { accounts, people } = accountClients(useSession());
  const account = usePages(
    useCallback(
      async (pageToken) => {
        const page = await accounts.listAuditEvents({ pageSize: PAGE_SIZE, pageToken });
        return { items: page.events, nextPageToken: page.nextPageToken };
      },
      [accounts],
    ),
  );
  const data = usePages(
    useCallback(
      async (pageToken) => {
        const page = await people.listAuditEvents({ pageSize: PAGE_SIZE, pageToken });
        return { items: page.events, nextPageToken: page.nextPageToken };
      },
      [people],
    ),
  );
  return (
    <Section title="Security log">
      <Log title="Account and sessions" pages={account} more="More events of the account">
        {(event) => (
          <li key={event.number.toString()}>
            <Time value={event.eventTime} />: {accountEventOf(event.eventType)}
            {event.outcome === AuditOutcome.REFUSED && ", refused"}
            {event.service !== "" && `, by the service ${event.service}`}
          </li>
        )}
      </Log>
      <Log title="Devices, shares and exports" pages={data} more="More events of devices, shares and exports">
        {(event) => (
          <li key={event.eventId}>
            <Time value={event.eventTime} />: {dataEventOf(event.eventType)}
          </li>
        )}
      </Log>
    </Section>
  );
}

interface LogProps<T> {
  title: string;
  pages: Pages<T>;
  more: string;
  children: (event: T) => ReactNode;
}

function Log<T>({ title, pages, more, children }: LogProps<T>) {
  return (
    <>
      <h3>{title}</h3>
      <ul className="entries">{pages.items.map(children)}</ul>
      <PagesFooter pages={pages} more={more} none="There are no events." />
    </>
  );
}
