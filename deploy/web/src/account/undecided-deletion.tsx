import { Link } from "wouter";
import { Alert } from "../ui/alert";
import { Page } from "./page";

/** The session ended before the deletion had an answer. */
export function UndecidedDeletion() {
  return (
    <Page title="Is the account deleted?">
      <Alert kind="warning">
        <p>
          The deletion of the account was sent, its answer did not arrive, and your session has ended since. Most likely
          the account is deleted.
        </p>
        <p>
          To be sure, <Link href="/sign-in">sign in</Link>: without an account, the address and the password are
          refused. The product can read the receipt of a deletion.
        </p>
      </Alert>
    </Page>
  );
}
