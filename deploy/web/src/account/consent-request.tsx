import { type FormEvent, useEffect, useId, useRef, useState } from "react";
import { accountClients } from "../api/account-clients";
import { failureOf } from "../api/failure";
import { useRequestIds } from "../api/request-id";
import { useSession } from "../app/session-context";
import { keyOf } from "../sign-up/consents";
import { Alert } from "../ui/alert";
import { FieldErrors } from "../ui/field";
import { useAction, useFailureFocus } from "./action";
import { FailureAlert } from "./failure-alert";
import { grantConsents } from "./grant";
import { Section } from "./section";
import { SubmitButton } from "./submit-button";

const SENTENCES = {
  INVALID_FIELD: "The documents have changed in the meantime. They are shown as they are now.",
};

/** Asks for the required consents that are missing. Until they are given, the server refuses most calls. */
export function ConsentRequest({ missing }: { missing: { document: string; documentVersion: string }[] }) {
  const session = useSession();
  const requestIds = useRequestIds();
  const action = useAction();
  const form = useFailureFocus<HTMLFormElement>(action.failure);
  const introduction = useRef<HTMLDivElement>(null);
  const errorsId = useId();
  const [agreed, setAgreed] = useState<string[]>([]);
  const [isRefused, setRefused] = useState(false);
  const open = missing.filter((consent) => !agreed.includes(keyOf(consent)));
  const errors = isRefused && open.length > 0 ? open.map(({ document }) => `“${document}” is required.`) : [];

  // The rest of the page went away, and with it what had the focus.
  useEffect(() => introduction.current?.focus(), []);

  const submit = (event: FormEvent) => {
    event.preventDefault();
    setRefused(true);
    if (open.length > 0) {
      form.current?.querySelector<HTMLInputElement>("input:not(:checked)")?.focus();
      return;
    }
    void action.run(async () => {
      try {
        await grantConsents(missing, accountClients(session), session, requestIds);
      } catch (error) {
        if (failureOf(error).reason === "INVALID_FIELD") {
          await session.renew();
        }
        throw error;
      }
    });
  };
  return (
    <Section title="Your consent is needed">
      <Alert ref={introduction} kind="warning">
        These documents are required, and you have not consented to them yet, or not to their present version. Without
        your consent you can still see your sessions and consents, export your data, and delete the account.
      </Alert>
      <form ref={form} onSubmit={submit} noValidate>
        <FailureAlert {...action} sentences={SENTENCES} />
        <fieldset aria-describedby={errors.length > 0 ? errorsId : undefined}>
          <legend>Documents</legend>
          {missing.map((consent) => (
            <label key={keyOf(consent)} className="choice">
              <input
                type="checkbox"
                checked={agreed.includes(keyOf(consent))}
                aria-invalid={errors.length > 0 && open.includes(consent)}
                onChange={({ target }) =>
                  setAgreed((before) =>
                    target.checked ? [...before, keyOf(consent)] : before.filter((key) => key !== keyOf(consent)),
                  )
                }
              />
              I accept “{consent.document}”, version {consent.documentVersion}
            </label>
          ))}
          <FieldErrors id={errorsId} errors={errors} />
        </fieldset>
        <SubmitButton action={action} busy="Saving…">
          Accept and go on
        </SubmitButton>
      </form>
    </Section>
  );
}
