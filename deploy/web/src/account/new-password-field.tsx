import { type ComponentProps, useEffect, useState } from "react";
import { useSession } from "../app/session-context";
import { PasswordField } from "../sign-up/password-field";
import type { PasswordPolicy } from "../sign-up/password-rules";

interface NewPasswordFieldProps extends ComponentProps<"input"> {
  typed: string;
  /** The address of the account, if it is known: a password that is made from it is easily guessed. */
  email?: string;
  errors: string[];
}

/** The field of sign-up, for another password of an account. Without an answer it has no rules, and the form works. */
export function NewPasswordField({ email = "", ...field }: NewPasswordFieldProps) {
  const { accounts } = useSession().entry;
  const [policy, setPolicy] = useState<PasswordPolicy>();
  useEffect(() => {
    accounts.getPasswordPolicy({}).then(setPolicy, () => undefined);
  }, [accounts]);
  return <PasswordField {...field} label="New password" accounts={accounts} policy={policy} email={email} />;
}
