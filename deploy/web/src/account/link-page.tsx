import type { ReactNode } from "react";
import { Alert } from "../ui/alert";
import { useLinkToken } from "./link-token";
import { Page } from "./page";

interface LinkPageProps {
  title: string;
  /** How to get a link, for a page that was opened without one. */
  source: string;
  /** The page for a token. */
  children: (token: string) => ReactNode;
}

/** A page that is opened by a link of an e-mail. */
export function LinkPage({ title, source, children }: LinkPageProps) {
  const token = useLinkToken();
  return (
    <Page title={title}>
      {token === "" ? (
        <Alert kind="warning">
          <p>Open this page by the link in the e-mail. {source}</p>
          <p>
            The link is shown in the address bar for a moment only. If you loaded the page again, open the link again.
          </p>
        </Alert>
      ) : (
        <div key={token}>{children(token)}</div>
      )}
    </Page>
  );
}
