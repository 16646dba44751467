import { useCallback, useEffect, useState } from "react";
import { Redirect } from "wouter";
import { useSignedIn } from "../api/session";
import { useSession } from "../app/session-context";
import { AccountMade } from "./account-made";
import { SignUpForm } from "./sign-up-form";

/** Makes an account, signs in, and goes on to the account: without a reload, because the tokens are in memory alone. */
export function SignUpPage() {
  const signedIn = useSignedIn(useSession());
  const [made, setMade] = useState<{ email: string; password: string; isEarlier: boolean }>();
  const forgetPassword = useCallback(() => setMade((account) => account && { ...account, password: "" }), []);
  useEffect(() => {
    document.title = "Create an account · Haven";
  }, []);
  if (signedIn) {
    // In place of this page: the way back leads to what was before it.
    return <Redirect to="/account" replace />;
  }
  return (
    <>
      <h1>Create an account</h1>
      {made ? (
        <AccountMade {...made} onEnd={forgetPassword} />
      ) : (
        <SignUpForm onMade={({ email, password }, isEarlier) => setMade({ email, password, isEarlier })} />
      )}
    </>
  );
}
