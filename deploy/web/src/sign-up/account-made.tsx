import { useCallback, useEffect, useRef, useState } from "react";
import { Link } from "wouter";
import { type Failure, failureOf } from "../api/failure";
import { useRequestIds } from "../api/request-id";
import { useSession } from "../app/session-context";
import { Alert } from "../ui/alert";
import { useCountdown } from "../ui/countdown";

interface AccountMadeProps {
  email: string;
  password: string;
  /** Whether an earlier attempt made the account, with what was typed then. */
  isEarlier: boolean;
  /** Forgets the password, with which nothing more can be done here. */
  onEnd: () => void;
}

/** The account exists. The person is signed in with the same password, by a click if the account is not as the form is now. */
export function AccountMade({ email, password, isEarlier, onEnd }: AccountMadeProps) {
  const session = useSession();
  const ids = useRequestIds();
  const [isBusy, setIsBusy] = useState(false);
  const [failure, setFailure] = useState<Failure>();
  const [limitEnd, setLimitEnd] = useState<number>();
  const wait = useCountdown(limitEnd);
  const isSending = useRef(false);
  const alert = useRef<HTMLDivElement>(null);

  const enter = useCallback(async () => {
    if (isSending.current) {
      return;
    }
    isSending.current = true;
    setIsBusy(true);
    setFailure(undefined);
    try {
      // The page goes on to the account when the session is there.
      await session.signIn(email, password, ids.for({ email, password }));
    } catch (error) {
      const failed = failureOf(error);
      setFailure(failed);
      setLimitEnd(failed.retryAfter === undefined ? undefined : Date.now() + failed.retryAfter);
      if (isFinal(failed)) {
        ids.forget();
        onEnd();
      }
    } finally {
      isSending.current = false;
      setIsBusy(false);
    }
  }, [session, email, password, ids, onEnd]);

  const hasBegun = useRef(false);
  useEffect(() => {
    if (!isEarlier && !hasBegun.current) {
      hasBegun.current = true;
      enter();
    }
  }, [isEarlier, enter]);
  useEffect(() => {
    if (failure || isEarlier) {
      alert.current?.focus();
    }
  }, [failure, isEarlier]);

  return (
    <>
      <Alert kind="success" {...(isEarlier && !failure && { ref: alert })}>
        <p>Your account exists.</p>
        {isEarlier && (
          <p>
            It was made by your earlier attempt, with the password, the goals and the consents of that attempt. What you
            changed since then is not a part of it.
          </p>
        )}
      </Alert>
      {failure && (
        <Alert kind="warning" ref={alert}>
          {textOf(failure)}
        </Alert>
      )}
      {wait > 0 && <p role="timer">You can sign in in {wait} s.</p>}
      {failure && isFinal(failure) ? (
        <Link href="/sign-in">Go to sign-in</Link>
      ) : (
        <button type="button" aria-disabled={isBusy || wait > 0} onClick={() => wait === 0 && enter()}>
          Sign in
        </button>
      )}
      <p role="status">{isBusy && "You are being signed in…"}</p>
    </>
  );
}

/** Whether the same sign-in can never succeed. */
function isFinal({ reason }: Failure): boolean {
  return ["CREDENTIALS_INVALID", "EMAIL_NOT_VERIFIED", "AUTH_PROVIDER_EXTERNAL", "REQUEST_ID_REUSED"].includes(reason);
}

function textOf({ reason }: Failure): string {
  switch (reason) {
    case "EMAIL_NOT_VERIFIED":
      return "Open the link in the e-mail that you get, to confirm your address. Then sign in.";
    case "CREDENTIALS_INVALID":
      return "The password of this account is another one by now.";
    case "RATE_LIMITED":
      return "You are not signed in yet: there were too many sign-ins.";
    case "PAGE_DEFECT":
      return "You are not signed in yet: this page has a defect. Load it again.";
    default:
      return "You are not signed in yet: the service did not answer.";
  }
}
