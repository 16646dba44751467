import { type FormEvent, type Ref, useEffect, useRef, useState } from "react";
import { flushSync } from "react-dom";
import { Alert } from "../ui/alert";
import { useCountdown } from "../ui/countdown";
import { Field } from "../ui/field";
import { checkPasscode, PASSCODE_ERRORS } from "./passcode";
import type { Attempt, ShareReader, ShareState } from "./share-reader";

interface OpenFormProps {
  reader: ShareReader;
  state: Extract<ShareState, { step: "ready" | "preparing" | "opening" }>;
}

/**
 * The passcode and the button that opens. The page cannot know whether the share has a passcode: the service tells no one who cannot
 * open it. So the field is always there.
 */
export function OpenForm({ reader, state }: OpenFormProps) {
  const [passcode, setPasscode] = useState("");
  const [error, setError] = useState<string>();
  const field = useRef<HTMLInputElement>(null);
  const message = useRef<HTMLDivElement>(null);
  const button = useRef<HTMLButtonElement>(null);
  const runs = state.step !== "ready";
  const attempt = state.step === "ready" ? state.attempt : undefined;
  const seconds = useCountdown(attempt?.retryTime);
  const errors = error === undefined ? passcodeErrors(attempt) : [error];

  useEffect(() => {
    if (attempt) {
      (attempt.kind === "passcode" ? field : message).current?.focus();
    }
  }, [attempt]);

  const submit = (event: FormEvent) => {
    event.preventDefault();
    const checked = checkPasscode(passcode);
    if ("error" in checked) {
      setError(checked.error);
      field.current?.focus();
      return;
    }
    setError(undefined);
    reader.open(checked.passcode);
  };

  const cancel = () => {
    // The button of the click is gone afterwards.
    flushSync(() => reader.cancel());
    button.current?.focus();
  };

  return (
    <>
      <p>
        The sender allows this link to be opened a limited number of times. Each click on the button uses one, also in
        another tab or on another device. The content is decrypted here, and the service cannot read it.
      </p>
      {attempt && attempt.kind !== "passcode" && <AttemptAlert ref={message} attempt={attempt} />}
      <form onSubmit={submit} noValidate>
        <Field
          ref={field}
          label="Passcode"
          hint="Only if you were given one. Five wrong passcodes lock the share for good."
          type="password"
          // A password manager would fill in the password of an account, which counts as a wrong passcode.
          name="share-passcode"
          autoComplete="one-time-code"
          spellCheck={false}
          value={passcode}
          onChange={(event) => {
            setPasscode(event.target.value);
            setError(undefined);
          }}
          errors={errors}
          readOnly={runs}
        />
        <button ref={button} type="submit" disabled={runs || seconds > 0}>
          {attempt ? "Try again" : "Open the share"}
        </button>{" "}
        {state.step === "preparing" && (
          <button type="button" className="secondary" onClick={cancel}>
            Cancel
          </button>
        )}
        {/* Outside of the alert, which a screen reader would say again each second. */}
        {seconds > 0 && (
          <p className="hint">
            Possible in {seconds} {seconds === 1 ? "second" : "seconds"}.
          </p>
        )}
      </form>
    </>
  );
}

function passcodeErrors(attempt: Attempt | undefined): string[] {
  if (attempt?.kind !== "passcode") {
    return [];
  }
  const violations = attempt.failure?.violations ?? [];
  return violations
    .filter(({ field }) => field === "passcode")
    .map(({ reason, description }) => PASSCODE_ERRORS[reason] ?? description);
}

function AttemptAlert({ ref, attempt: { kind, failure } }: { ref: Ref<HTMLDivElement>; attempt: Attempt }) {
  switch (kind) {
    case "refused":
      return (
        <Alert ref={ref} kind="error">
          This share cannot be opened: the passcode may be missing or wrong, or the share has expired, was revoked, was
          opened as often as it may be, or is locked after five wrong passcodes.
        </Alert>
      );
    case "busy":
      return (
        <Alert ref={ref} kind="warning">
          There are too many attempts at the moment. This one did not count.
        </Alert>
      );
    case "unprepared":
      return (
        <Alert ref={ref} kind="error">
          The page could not load what decrypts the content, so the share was not opened, and nothing was counted. Check
          the connection, and try again.
        </Alert>
      );
    default:
      return (
        <Alert ref={ref} kind="error">
          There was no answer. The opening may have been counted all the same, and another try counts as another one.
          {failure?.requestId && ` For a report: request ${failure.requestId}.`}
        </Alert>
      );
  }
}
