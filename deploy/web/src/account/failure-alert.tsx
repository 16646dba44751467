import { useRef } from "react";
import type { Failure } from "../api/failure";
import { Alert } from "../ui/alert";
import { useCountdown } from "../ui/countdown";
import { sentenceOf } from "./sentences";

interface FailureAlertProps {
  failure: Failure | undefined;
  waitEnd?: number | undefined;
  /** The page's own sentences, by reason. */
  sentences?: Record<string, string>;
  /** The fields of the form, which show their violations themselves. */
  fields?: string[];
  /** Whether the failure is said when it appears. Otherwise the message gets the focus, and is said with it. */
  isLive?: boolean;
  /** Makes the call again. */
  onRetry?: () => void;
}

/** Says why a call failed, and after which time it may be made again. */
export function FailureAlert({ failure, waitEnd, sentences, fields = [], isLive, onRetry }: FailureAlertProps) {
  const seconds = useCountdown(waitEnd);
  const message = useRef<HTMLDivElement>(null);
  if (!failure) {
    return null;
  }
  const others = failure.violations.filter((violation) => !fields.includes(violation.field));
  return (
    <div data-failure={failure.reason}>
      <Alert kind="error" {...(!isLive && { ref: message })}>
        <p>{sentenceOf(failure, sentences)}</p>
        {others.length > 0 && (
          <ul>
            {others.map(({ field, reason, description }) => (
              <li key={`${field} ${reason}`}>{description}.</li>
            ))}
          </ul>
        )}
        {["INTERNAL", "INVALID_FIELD"].includes(failure.reason) && failure.requestId && (
          <p>The ID of the request, for a report: {failure.requestId}</p>
        )}
      </Alert>
      <Wait seconds={seconds} />
      {onRetry && (
        <button type="button" className="secondary" onClick={onRetry} disabled={seconds > 0}>
          Try again
        </button>
      )}
    </div>
  );
}

/** The countdown. Screen readers do not say each second: it is outside of the alert. */
function Wait({ seconds }: { seconds: number }) {
  if (seconds === 0) {
    return null;
  }
  const minutes = Math.floor(seconds / 60);
  const rest = String(seconds % 60).padStart(2, "0");
  const time = minutes > 0 ? `${minutes}:${rest} minutes` : seconds === 1 ? "1 second" : `${seconds} seconds`;
  return <p role="timer">Try again in {time}.</p>;
}
