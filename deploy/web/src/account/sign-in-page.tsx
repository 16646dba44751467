import { useEffect } from "react";
import { useForm } from "react-hook-form";
import { Link, useLocation } from "wouter";
import { failureOf } from "../api/failure";
import { useRequestIds } from "../api/request-id";
import { type EndCause, useSignedIn } from "../api/session";
import { useSession } from "../app/session-context";
import { Alert } from "../ui/alert";
import { Field } from "../ui/field";
import { useAction, useFailureFocus } from "./action";
import { FailureAlert } from "./failure-alert";
import { Page } from "./page";
import { errorsOf } from "./sentences";
import { SubmitButton } from "./submit-button";

const SENTENCES = {
  CREDENTIALS_INVALID: "The e-mail address or the password is wrong.",
  EMAIL_NOT_VERIFIED:
    "The e-mail address is not verified yet. Open the link in the e-mail that was sent to it, then sign in.",
  REQUEST_ID_REUSED: "This attempt was made before with other content. Try again.",
};

interface Credentials {
  email: string;
  password: string;
}

/** Sign-in. It leads to the account, also after a session that has ended elsewhere. */
export default function SignInPage() {
  const session = useSession();
  const signedIn = useSignedIn(session);
  const [, navigate] = useLocation();
  const requestIds = useRequestIds();
  const action = useAction();
  const form = useFailureFocus<HTMLFormElement>(action.failure);
  const { register, handleSubmit, formState, reset } = useForm<Credentials>();

  useEffect(() => {
    if (signedIn) {
      navigate("/account", { replace: true });
    }
  }, [signedIn, navigate]);

  const signIn = handleSubmit(({ email, password }) =>
    action.run(async () => {
      // The second click of a double click can come after the answer to the first.
      if (session.signedIn) {
        return;
      }
      try {
        await session.signIn(email, password, requestIds.for({ email, password }));
      } catch (error) {
        if (failureOf(error).reason === "REQUEST_ID_REUSED") {
          requestIds.forget();
        }
        throw error;
      }
      requestIds.forget();
      reset();
    }),
  );
  const errors = (name: keyof Credentials) => [
    ...(formState.errors[name]?.message ? [formState.errors[name].message] : []),
    ...errorsOf(action.failure, name),
  ];

  return (
    <Page title="Sign in">
      <EndSentence cause={session.lastEnd} />
      <form ref={form} onSubmit={signIn} noValidate>
        <FailureAlert {...action} sentences={SENTENCES} fields={["email", "password"]} />
        <Field
          label="E-mail address"
          type="email"
          autoComplete="username"
          errors={errors("email")}
          {...register("email", { required: "The e-mail address is required." })}
        />
        <Field
          label="Password"
          type="password"
          autoComplete="current-password"
          errors={errors("password")}
          {...register("password", { required: "The password is required." })}
        />
        <SubmitButton action={action} busy="Signing in…">
          Sign in
        </SubmitButton>
      </form>
      <h2>Is the password lost?</h2>
      <p>
        Ask for a reset in the product that you use with this account. It sends an e-mail to your address. Open the link
        in it to choose a new password.
      </p>
      <p>
        Is there no account yet? <Link href="/">Sign up</Link>.
      </p>
    </Page>
  );
}

/** Says why the last session of this page has ended. */
function EndSentence({ cause }: { cause: EndCause | undefined }) {
  switch (cause) {
    case "SIGNED_OUT":
      return <Alert kind="success">You are signed out.</Alert>;
    case "ENDED":
      return (
        <Alert kind="warning">
          Your session has ended: from another device, by a change of the password, or by its age. Sign in again.
        </Alert>
      );
    default:
      return null;
  }
}
