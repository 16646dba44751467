import { type ComponentProps, useEffect, useId, useState } from "react";
import { useSession } from "../app/session-context";
import { Field } from "../ui/field";

/** The pause in typing after which the server is asked, in milliseconds. */
const PAUSE = 400;

interface Rule {
  name: string;
  description: string;
  isMet: boolean;
}

interface NewPasswordFieldProps extends ComponentProps<"input"> {
  password: string;
  /** The address of the account, if it is known: a password that is made from it is easily guessed. */
  email?: string;
  errors: string[];
}

/** A field for a new password, with the server's rules. They are shown while a person types, and never block the form. */
export function NewPasswordField({ password, email = "", errors, ...input }: NewPasswordFieldProps) {
  const rules = usePasswordRules(password, email);
  const id = useId();
  return (
    <>
      <Field
        {...input}
        label="New password"
        type="password"
        autoComplete="new-password"
        errors={errors}
        aria-describedby={id}
      />
      <ul id={id} className="rules" aria-label="Rules for the new password">
        {rules.map(({ name, description, isMet }) => (
          <li key={name} className={isMet ? "met" : "unmet"}>
            {isMet ? "✓" : "•"} {description}
            {password !== "" && (isMet ? " – met" : " – not met yet")}
          </li>
        ))}
      </ul>
    </>
  );
}

/** Returns the rules of the server, and which of them `password` meets. Without an answer there are none: the form works. */
function usePasswordRules(password: string, email: string): Rule[] {
  const { accounts } = useSession().entry;
  const [rules, setRules] = useState<Rule[]>([]);
  useEffect(() => {
    const abort = new AbortController();
    const check = async () => {
      try {
        const { results } = await accounts.checkPassword({ password, email }, { signal: abort.signal });
        setRules(
          results.map(({ rule, met }) => ({
            name: rule?.name ?? "",
            description: rule?.description ?? "",
            isMet: met && password !== "",
          })),
        );
      } catch {
        // The rules are a help. The server checks the password in any case.
      }
    };
    const timer = setTimeout(check, password === "" ? 0 : PAUSE);
    return () => {
      clearTimeout(timer);
      abort.abort();
    };
  }, [accounts, password, email]);
  return rules;
}
