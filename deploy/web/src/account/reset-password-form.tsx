import { useState } from "react";
import { useForm } from "react-hook-form";
import { Link } from "wouter";
import { accountClients } from "../api/account-clients";
import { useRequestIds } from "../api/request-id";
import { useSession } from "../app/session-context";
import { useAction, useFailureFocus } from "./action";
import { Done } from "./done";
import { FailureAlert } from "./failure-alert";
import { NewPasswordField } from "./new-password-field";
import { errorsOf, sessionsOf } from "./sentences";
import { SubmitButton } from "./submit-button";

/** Sets a new password with a token. All sessions of the account end. */
export function ResetPasswordForm({ token }: { token: string }) {
  const session = useSession();
  const requestIds = useRequestIds();
  const action = useAction();
  const form = useFailureFocus<HTMLFormElement>(action.failure);
  const { register, handleSubmit, watch, reset, formState } = useForm({ defaultValues: { newPassword: "" } });
  const [ended, setEnded] = useState<number>();

  const submit = handleSubmit(({ newPassword }) =>
    action.run(async () => {
      const requestId = requestIds.for(newPassword);
      const answer = await accountClients(session).recovery.resetPassword({ token, newPassword, requestId });
      session.rememberDevice(answer.deviceToken);
      requestIds.forget();
      reset();
      setEnded(answer.endedSessions);
    }),
  );
  if (ended !== undefined) {
    return (
      <Done>
        <p>The new password is set. {sessionsOf(ended)}</p>
        <p>
          <Link href="/sign-in">Sign in with the new password</Link>
        </p>
      </Done>
    );
  }
  return (
    <form ref={form} onSubmit={submit} noValidate>
      <FailureAlert {...action} fields={["new_password"]} />
      {action.failure?.reason !== "RECOVERY_TOKEN_INVALID" && (
        <>
          <NewPasswordField
            typed={watch("newPassword")}
            errors={[
              ...(formState.errors.newPassword?.message ? [formState.errors.newPassword.message] : []),
              ...errorsOf(action.failure, "new_password"),
            ]}
            {...register("newPassword", { required: "The new password is required." })}
          />
          <SubmitButton action={action} busy="Setting the password…">
            Set the password
          </SubmitButton>
        </>
      )}
    </form>
  );
}
