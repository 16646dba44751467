import { type ReactNode, useState } from "react";
import { useRequestIds } from "../api/request-id";
import { useAction, useFailureFocus } from "./action";
import { FailureAlert } from "./failure-alert";
import { SubmitButton } from "./submit-button";

interface LinkActionProps<A> {
  /** What the button does, and what it says meanwhile. */
  label: string;
  busy: string;
  /** What happens after the click. */
  explanation: ReactNode;
  sentences?: Record<string, string>;
  call: (requestId: string) => Promise<A>;
  /** What is shown after the answer. */
  children: (answer: A) => ReactNode;
}

/** The one button of a page that was opened by a link. The token is sent when it is clicked, and not before. */
export function LinkAction<A>({ label, busy, explanation, sentences, call, children }: LinkActionProps<A>) {
  const [answer, setAnswer] = useState<A>();
  const requestIds = useRequestIds();
  const action = useAction();
  const form = useFailureFocus<HTMLFormElement>(action.failure);
  if (answer !== undefined) {
    return children(answer);
  }
  return (
    <form
      ref={form}
      onSubmit={(event) => {
        event.preventDefault();
        void action.run(async () => setAnswer(await call(requestIds.for(label))));
      }}
    >
      {explanation}
      <FailureAlert {...action} {...(sentences && { sentences })} />
      {action.failure?.reason !== "RECOVERY_TOKEN_INVALID" && (
        <SubmitButton action={action} busy={busy}>
          {label}
        </SubmitButton>
      )}
    </form>
  );
}
