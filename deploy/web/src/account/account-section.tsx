import { useCallback } from "react";
import { accountClients } from "../api/account-clients";
import { useSession } from "../app/session-context";
import { Time } from "../ui/time";
import { FailureAlert } from "./failure-alert";
import { GoalsForm } from "./goals-form";
import { useLoaded } from "./loaded";
import { PasswordSection } from "./password-section";
import { Section } from "./section";

/** What the account has, and what of it the person can change: the goals and the password. */
export function AccountSection() {
  const { accounts } = accountClients(useSession());
  const loaded = useLoaded(useCallback(async () => (await accounts.getAccount({})).account, [accounts]));
  const account = loaded.value;
  return (
    <>
      <Section title="Data of the account">
        <FailureAlert {...loaded} isLive onRetry={loaded.reload} />
        {!account && !loaded.failure && <p role="status">Loading…</p>}
        {account && (
          <dl>
            <dt>E-mail address</dt>
            <dd>
              {account.email || "none: another provider manages it"}
              {account.email !== "" &&
                (account.emailVerifiedTime ? (
                  <>
                    , verified on <Time value={account.emailVerifiedTime} />
                  </>
                ) : (
                  ", not verified yet: open the link in the e-mail that was sent to it"
                ))}
            </dd>
            <dt>Stage</dt>
            <dd>
              {account.stage} of 3
              {account.graduated && (
                <>
                  , completed on <Time value={account.graduateTime} />
                </>
              )}
            </dd>
            <dt>Created</dt>
            <dd>
              <Time value={account.createTime} />
            </dd>
            <dt>Last changed</dt>
            <dd>
              <Time value={account.updateTime} />
            </dd>
            <dt>Account ID</dt>
            <dd>
              <code>{account.id}</code>
            </dd>
          </dl>
        )}
        <p className="hint">
          To change the e-mail address, ask for it in the product that you use with this account. It sends a link to the
          new address, and one to the old address that takes the change back.
        </p>
      </Section>
      {account && (
        <Section title="Goals">
          <GoalsForm account={account} onChange={loaded.set} />
        </Section>
      )}
      <PasswordSection email={account?.email ?? ""} />
    </>
  );
}
