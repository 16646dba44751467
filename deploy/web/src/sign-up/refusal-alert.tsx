import { type Ref, useEffect, useState } from "react";
import { Link } from "wouter";
import type { Failure } from "../api/failure";
import { Alert } from "../ui/alert";
import { isUndecided } from "./attempts";

interface RefusalAlertProps {
  failure: Failure;
  /** The violations that belong to no field of the form. */
  others: string[];
  /** The seconds until the form may be sent again. */
  wait: number;
  /** Given when the message gets the focus, and not a field. */
  ref?: Ref<HTMLDivElement>;
}

/** Says why the form was not accepted, and what a person can do. */
export function RefusalAlert({ failure, others, wait, ref }: RefusalAlertProps) {
  const focus = ref && { ref };
  if (failure.reason === "RATE_LIMITED") {
    return (
      <>
        <Alert kind="warning" {...focus}>
          {wait > 0
            ? "There were too many attempts. What you typed stays here."
            : "The time is over: you can send the form now."}
        </Alert>
        {wait > 0 && <p role="timer">You can send the form in {durationOf(wait)}.</p>}
      </>
    );
  }
  if (isUndecided(failure)) {
    return <Unanswered failure={failure} {...focus} />;
  }
  return (
    <Alert kind="error" {...focus}>
      <Sentence failure={failure} />
      {others.length > 0 && (
        <ul>
          {others.map((text) => (
            <li key={text}>{text}</li>
          ))}
        </ul>
      )}
    </Alert>
  );
}

function Sentence({ failure }: { failure: Failure }) {
  switch (failure.reason) {
    case "EMAIL_TAKEN":
      return (
        <p>
          An account with this address exists. <Link href="/sign-in">Sign in</Link>, or use another address.
        </p>
      );
    case "OVERLOADED":
    case "TOO_MANY_CALLS":
      return (
        <>
          <p>The service is busy. What you typed stays here.</p>
          <button type="submit">Try again</button>
        </>
      );
    case "REQUEST_ID_REUSED":
    case "ACCOUNT_ERASED":
      return (
        <p>
          This form made an account earlier, which was changed or deleted since. <Link href="/sign-in">Sign in</Link>,
          or send the form again for a new account.
        </p>
      );
    case "AUTH_PROVIDER_EXTERNAL":
      return <p>Accounts are not made here: another provider manages them.</p>;
    case "PAGE_DEFECT":
      return <p>This page has a defect. Load it again, and fill in the form once more.</p>;
    case "INVALID_FIELD":
    case "EMAIL_INVALID":
    case "PASSWORD_POLICY":
    case "CONSENT_REQUIRED":
      return <p>The form was not accepted. Correct what is marked, and send it again.</p>;
    default:
      return <Unexpected failure={failure} />;
  }
}

/** There was no answer. The account may exist, and sending the same again makes no second one. */
function Unanswered({ failure, ref }: Pick<RefusalAlertProps, "failure" | "ref">) {
  const [isOnline, setIsOnline] = useState<boolean>();
  useEffect(() => {
    const change = () => setIsOnline(navigator.onLine);
    window.addEventListener("online", change);
    window.addEventListener("offline", change);
    return () => {
      window.removeEventListener("online", change);
      window.removeEventListener("offline", change);
    };
  }, []);
  return (
    <>
      <Alert kind="error" {...(ref && { ref })}>
        {failure.reason === "INTERNAL" ? <Unexpected failure={failure} /> : <p>The service did not answer.</p>}
        <p>What you typed stays here. Sending it again makes no second account.</p>
        <button type="submit">Try again</button>
      </Alert>
      {isOnline && <Alert kind="success">The browser is online again. You can try again now.</Alert>}
    </>
  );
}

function Unexpected({ failure }: { failure: Failure }) {
  return (
    <p>
      The service failed ({failure.reason}).{failure.requestId && ` The number for a report is ${failure.requestId}.`}
    </p>
  );
}

function durationOf(seconds: number): string {
  const minutes = Math.floor(seconds / 60);
  return minutes > 0 ? `${minutes} min ${seconds % 60} s` : `${seconds} s`;
}
