import { Link } from "wouter";
import { accountClients } from "../api/account-clients";
import { useSession } from "../app/session-context";
import { Time } from "../ui/time";
import { Done } from "./done";
import { LinkAction } from "./link-action";
import { LinkPage } from "./link-page";

/** Verifies the address to which the link was sent. */
export default function VerifyEmailPage() {
  const { recovery } = accountClients(useSession());
  return (
    <LinkPage title="Verify the e-mail address" source="The product that you use with the account sends it.">
      {(token) => (
        <LinkAction
          label="Verify the address"
          busy="Verifying…"
          explanation={<p>You show that the mailbox to which the link was sent is yours.</p>}
          call={(requestId) => recovery.verifyEmail({ token, requestId })}
        >
          {({ emailVerifiedTime }) => (
            <Done>
              <p>
                The address is verified since <Time value={emailVerifiedTime} />.
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
