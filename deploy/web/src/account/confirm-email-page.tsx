import { Link } from "wouter";
import { accountClients } from "../api/account-clients";
import { useSession } from "../app/session-context";
import { Time } from "../ui/time";
import { Done } from "./done";
import { LinkAction } from "./link-action";
import { LinkPage } from "./link-page";

const SENTENCES = {
  EMAIL_TAKEN:
    "Another account has this e-mail address, or can still get it back. The link stays valid: free the address, and try again.",
};

/** Confirms a change of the address, by the link that was sent to the new one. */
export default function ConfirmEmailPage() {
  const { recovery } = accountClients(useSession());
  return (
    <LinkPage
      title="Confirm the new e-mail address"
      source="Ask for a change of the address in the product that you use with the account."
    >
      {(token) => (
        <LinkAction
          label="Change the address"
          busy="Changing…"
          explanation={
            <p>The account gets the address to which the link was sent. You sign in with it from then on.</p>
          }
          sentences={SENTENCES}
          call={(requestId) => recovery.confirmEmailChange({ token, requestId })}
        >
          {({ changeTime }) => (
            <Done>
              <p>
                The account has the new address since <Time value={changeTime} />. Your sessions go on. The e-mail to
                the old address has a link that takes the change back.
              </p>
              <p>
                <Link href="/sign-in">Go on to the account</Link>
              </p>
            </Done>
          )}
        </LinkAction>
      )}
    </LinkPage>
  );
}
