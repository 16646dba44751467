import { useRef } from "react";
import { useForm } from "react-hook-form";
import { accountClients } from "../api/account-clients";
import { failureOf } from "../api/failure";
import { useRequestIds } from "../api/request-id";
import { useSession } from "../app/session-context";
import { Field } from "../ui/field";
import { useAction, useFailureFocus } from "./action";
import { type DeletionStep, stepAfter } from "./deletion-step";
import { FailureAlert } from "./failure-alert";
import { Section } from "./section";
import { errorsOf } from "./sentences";
import { SubmitButton } from "./submit-button";

/** What a person types to confirm the deletion. */
const CONFIRMATION = "delete my account";

/** The deletion of the account, confirmed by the password and by words. */
export function DeletionSection({ onStep }: { onStep: (step: DeletionStep) => void }) {
  const { accounts } = accountClients(useSession());
  const requestIds = useRequestIds();
  const action = useAction();
  const form = useFailureFocus<HTMLFormElement>(action.failure);
  const { register, handleSubmit, formState } = useForm({ defaultValues: { password: "", confirmation: "" } });

  const isUndecided = useRef(false);

  const submit = handleSubmit(({ password }) =>
    action.run(async () => {
      if (!isUndecided.current) {
        onStep({ step: "running" });
      }
      try {
        const answer = await accounts.deleteAccount({ password, requestId: requestIds.for(password) });
        requestIds.forget();
        onStep({ step: "deleted", receipt: answer.deletion });
      } catch (error) {
        const next = stepAfter(failureOf(error).reason, isUndecided.current);
        isUndecided.current = next.step === "undecided";
        onStep(next);
        throw error;
      }
    }),
  );
  const isWrong = action.failure?.reason === "CREDENTIALS_INVALID";
  const local = (name: "password" | "confirmation") => {
    const message = formState.errors[name]?.message;
    return message ? [message] : [];
  };
  return (
    <Section title="Delete the account">
      <p>
        The account and everything that both services store for it are erased: messages, analyses, records, preferences,
        devices, shares, consents, sessions and logs. This cannot be undone. Export the data before if you want to keep
        it.
      </p>
      <form ref={form} onSubmit={submit} noValidate>
        {!isWrong && <FailureAlert {...action} fields={["password"]} />}
        <Field
          label="Password"
          type="password"
          autoComplete="current-password"
          errors={[
            ...local("password"),
            ...errorsOf(action.failure, "password"),
            ...(isWrong ? ["The password is wrong."] : []),
          ]}
          {...register("password", { required: "The password is required." })}
        />
        <Field
          label="Confirmation"
          hint={`Type: ${CONFIRMATION}`}
          autoComplete="off"
          autoCapitalize="none"
          spellCheck={false}
          errors={local("confirmation")}
          {...register("confirmation", {
            validate: (words) =>
              words.trim().toLowerCase() === CONFIRMATION || `The words “${CONFIRMATION}” are required.`,
          })}
        />
        <SubmitButton action={action} className="danger" busy="Deleting…">
          Delete the account
        </SubmitButton>
      </form>
    </Section>
  );
}
