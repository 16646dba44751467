import { accountClients } from "../api/account-clients";
import { useSession } from "../app/session-context";
import { Time } from "../ui/time";
import { Done } from "./done";
import { LinkAction } from "./link-action";
import { LinkPage } from "./link-page";
import { ResetPasswordForm } from "./reset-password-form";
import { sessionsOf } from "./sentences";

const SENTENCES = {
  EMAIL_TAKEN: "Another account has the old e-mail address by now. Ask the support of the product.",
};

/** Takes a change of the address back, by the link that was sent to the old one, and sets a new password at once. */
export default function UndoEmailPage() {
  const { recovery } = accountClients(useSession());
  return (
    <LinkPage
      title="Take back the change of the e-mail address"
      source="It was sent to the old address when the change was requested."
    >
      {(token) => (
        <LinkAction
          label="Take the change back"
          busy="Taking the change back…"
          explanation={
            <p>
              The account gets back the address to which the link was sent. All sessions and the password end, because
              another person may know the password. You choose a new one in the next step.
            </p>
          }
          sentences={SENTENCES}
          call={(requestId) => recovery.undoEmailChange({ token, requestId })}
        >
          {({ undoTime, endedSessions, resetToken, resetTokenExpireTime }) => (
            <>
              <Done>
                The account has its old address again since <Time value={undoTime} />. {sessionsOf(endedSessions)}
              </Done>
              <h2>Choose a new password</h2>
              <p>
                No password signs in until you have chosen a new one. This page can set it until{" "}
                <Time value={resetTokenExpireTime} />.
              </p>
              <ResetPasswordForm token={resetToken} />
            </>
          )}
        </LinkAction>
      )}
    </LinkPage>
  );
}
