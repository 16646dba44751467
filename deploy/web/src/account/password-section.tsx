import { useState } from "react";
import { useForm } from "react-hook-form";
import { accountClients } from "../api/account-clients";
import { useRequestIds } from "../api/request-id";
import { useSession } from "../app/session-context";
import { Field } from "../ui/field";
import { useAction, useFailureFocus } from "./action";
import { Done } from "./done";
import { FailureAlert } from "./failure-alert";
import { NewPasswordField } from "./new-password-field";
import { Section } from "./section";
import { errorsOf, sessionsOf } from "./sentences";
import { SubmitButton } from "./submit-button";

const FIELDS = ["current_password", "new_password"];

/** The change of the password. It ends all other sessions. */
export function PasswordSection({ email }: { email: string }) {
  const { accounts } = accountClients(useSession());
  const requestIds = useRequestIds();
  const action = useAction();
  const form = useFailureFocus<HTMLFormElement>(action.failure);
  const [ended, setEnded] = useState<number>();
  const { register, handleSubmit, watch, reset, formState } = useForm({
    defaultValues: { currentPassword: "", newPassword: "" },
  });

  const submit = handleSubmit(({ currentPassword, newPassword }) => {
    setEnded(undefined);
    return action.run(async () => {
      const requestId = requestIds.for({ currentPassword, newPassword });
      const answer = await accounts.changePassword({ currentPassword, newPassword, requestId });
      requestIds.forget();
      reset();
      setEnded(answer.endedSessions);
    });
  });
  const isWrong = action.failure?.reason === "CREDENTIALS_INVALID";
  const local = (name: "currentPassword" | "newPassword") => {
    const message = formState.errors[name]?.message;
    return message ? [message] : [];
  };
  return (
    <Section title="Password">
      <form ref={form} onSubmit={submit} noValidate>
        {!isWrong && <FailureAlert {...action} fields={FIELDS} />}
        {ended !== undefined && <Done>The password is changed. {sessionsOf(ended)} This one goes on.</Done>}
        <Field
          label="Current password"
          type="password"
          autoComplete="current-password"
          errors={[
            ...local("currentPassword"),
            ...errorsOf(action.failure, "current_password"),
            ...(isWrong ? ["The password is wrong."] : []),
          ]}
          {...register("currentPassword", { required: "The current password is required." })}
        />
        <NewPasswordField
          typed={watch("newPassword")}
          email={email}
          errors={[...local("newPassword"), ...errorsOf(action.failure, "new_password")]}
          {...register("newPassword", { required: "The new password is required." })}
        />
        <p className="hint">All other sessions of the account end with the change.</p>
        <SubmitButton action={action} busy="Changing…">
          Change the password
        </SubmitButton>
      </form>
    </Section>
  );
}
